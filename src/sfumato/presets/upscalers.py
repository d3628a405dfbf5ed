"""Upscalers by name: filters of pictures, interpolations of latents, and the bundled network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sfumato._files import expanded

BUNDLED = {"esrgan": Path(__file__).parent / "esrgan" / "model.safetensors"}
FILTERS = ("nearest", "bilinear", "bicubic", "lanczos")
PICTURES = (*BUNDLED, *FILTERS)
"""The upscalers of finished pictures; a network's file is another."""

LATENTS = {
    "latent": "bilinear",
    "latent_antialiased": "bilinear_antialiased",
    "latent_bicubic": "bicubic",
    "latent_bicubic_antialiased": "bicubic_antialiased",
    "latent_nearest": "nearest",
    "latent_nearest_exact": "nearest_exact",
}
"""The upscalers of latents between two passes, and what `diffusion.interpolation` calls them."""

LABELS = {
    "Latent": "latent",
    "Latent (antialiased)": "latent_antialiased",
    "Latent (bicubic)": "latent_bicubic",
    "Latent (bicubic antialiased)": "latent_bicubic_antialiased",
    "Latent (nearest)": "latent_nearest",
    "Latent (nearest-exact)": "latent_nearest_exact",
    **{name.capitalize(): name for name in FILTERS},
    "ESRGAN": "esrgan",
}
"""A1111's names, and ours."""


def find(value: Any, names: tuple[str, ...] = PICTURES) -> str:
    """The name of an upscaler, or the path of the file of one, which is not opened yet.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, str):
        word = {label.casefold(): name for label, name in LABELS.items()}.get(value.casefold())
        if (word := word or value.casefold()) in names:
            return word
    if isinstance(value, (str, os.PathLike)) and expanded(value).is_file():
        return str(expanded(value))
    raise ValueError(f"`upscaler` must {must(names)}. Received: upscaler={value!r}")


def must(names: tuple[str, ...] = PICTURES) -> str:
    """The words for what an upscaler is."""
    return f"be one of {', '.join(names)}, or the file of a network"


def label(name: str) -> str:
    """A1111's name of an upscaler; of a file, its own without the folder and the ending."""
    labels = {name: label for label, name in LABELS.items()}
    return labels.get(name) or Path(name).stem
