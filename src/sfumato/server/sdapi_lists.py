"""What A1111's clients ask for before they ask for a picture: lists, options, defaults."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from typing import Any

import psutil
from PIL import Image

from sfumato import diffusion
from sfumato._numbers import as_number
from sfumato.request import RequestError
from sfumato.server import wire
from sfumato.server.adapters import Adapters
from sfumato.server.limits import check_pixels
from sfumato.server.service import Service

OPTIONS: dict[str, Any] = {
    "samples_format": "png",
    "sd_model_checkpoint": "",
    "sd_checkpoint_hash": "",
    "sd_vae": "Automatic",
    "CLIP_stop_at_last_layers": 1,
    "eta_noise_seed_delta": 0,
    "live_previews_enable": True,
    "show_progress_every_n_steps": 1,
    "enable_pnginfo": True,
    "randn_source": "NV",
}
"""The settings that clients read; they cannot do without the first two."""

DEFAULTS = (
    *("prompt", "negative_prompt", "seed", "subseed", "subseed_strength", "seed_resize_from_h"),
    *("seed_resize_from_w", "sampler_name", "scheduler", "batch_size", "n_iter", "steps"),
    *("cfg_scale", "width", "height", "tiling", "eta", "denoising_strength", "clip_skip"),
    *("mask_blur", "inpaint_full_res", "inpaint_full_res_padding", "inpainting_mask_invert"),
    *("resize_mode", "enable_hr", "hr_scale", "hr_upscaler", "hr_second_pass_steps"),
)
"""The fields that an answer tells back."""

UPSCALERS = {
    "None": Image.Resampling.BICUBIC,
    "Lanczos": Image.Resampling.LANCZOS,
    "Nearest": Image.Resampling.NEAREST,
}


def label_of(sampler: Any) -> str:
    return diffusion.find_sampler(sampler).label


def model(name: str) -> dict[str, Any]:
    facts = {"title": name, "model_name": name, "filename": name}
    return facts | dict.fromkeys(("hash", "sha256", "config"))


def _samplers() -> list[dict[str, Any]]:
    return [
        {
            "name": row.label,
            "aliases": [row.name, *row.aliases],
            "options": {"scheduler": row.schedule},
        }
        for row in diffusion.SAMPLERS.values()
    ]


def _schedulers() -> list[dict[str, Any]]:
    rows = [("automatic", "Automatic", ())]
    rows += [(row.name, row.label, row.aliases) for row in diffusion.SCHEDULES.values()]
    return [
        {
            "name": name,
            "label": label,
            "aliases": [*aliases],
            "default_rho": 7.0 if name == "karras" else -1.0,
            "need_inner_model": False,
        }
        for name, label, aliases in rows
    ]


def _upscalers() -> list[dict[str, Any]]:
    nothing = dict.fromkeys(("model_name", "model_path", "model_url"))
    return [{"name": name, **nothing, "scale": 4} for name in UPSCALERS]


def memory() -> dict[str, Any]:
    """The memory of this process and of the machine, in bytes."""
    machine, own = psutil.virtual_memory(), psutil.Process().memory_info().rss
    return {"ram": {"free": machine.available, "used": own, "total": machine.total}, "cuda": {}}


def _loras(adapters: Adapters) -> list[dict[str, Any]]:
    return [{"name": n, "alias": n, "path": n, "metadata": {}} for n in adapters.loras]


def _embeddings(adapters: Adapters) -> dict[str, Any]:
    nothing = dict.fromkeys(("step", "sd_checkpoint", "sd_checkpoint_name"))
    loaded = {
        name: {**nothing, "shape": word.widths[0], "vectors": len(word)}
        for name, word in adapters.words.items()
    }
    return {"loaded": loaded, "skipped": {}}


OWN: dict[str, Callable[[Adapters], Any]] = {"loras": _loras, "embeddings": _embeddings}
"""The lists of what this server has, by their path."""
LISTS: dict[str, Callable[[], Any]] = {
    "samplers": _samplers,
    "schedulers": _schedulers,
    "upscalers": _upscalers,
    "sd-vae": lambda: [{"model_name": "Automatic", "filename": ""}],
    "scripts": lambda: {"txt2img": [], "img2img": []},
    "cmd-flags": dict,
    **dict.fromkeys(
        (
            *("latent-upscale-modes", "sd-modules", "hypernetworks", "prompt-styles"),
            *("face-restorers", "realesrgan-models", "script-info", "extensions"),
        ),
        list,
    ),
}
"""The lists by their path; clients take an empty one, and not an error."""


def enlarged(text: Any, values: Mapping[str, Any], service: Service) -> str:
    """A picture made larger by a factor, or to a size; base64 in and out."""
    pixels = wire.picture_of("image", text, service)
    name = values.get("upscaler_1", "None")
    if not isinstance(name, str) or name not in UPSCALERS:
        raise RequestError("upscaler_1", f"be one of {', '.join(UPSCALERS)}", repr(name)[:100])
    W, H = size = _size(pixels.shape, values)
    if min(size) < 1:
        raise RequestError("upscaling_resize", "leave a picture", f"{W}x{H}")
    check_pixels("upscaling_resize", W, H, service.settings)
    file = io.BytesIO()
    Image.fromarray(pixels).resize(size, UPSCALERS[name]).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _size(shape: tuple[int, ...], values: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height of a picture that is made larger."""
    try:
        if values.get("resize_mode", 0) == 1:
            names = ("upscaling_resize_w", "upscaling_resize_h")
            width, height = (as_number(values.get(side)) for side in names)
        else:
            factor = as_number(values.get("upscaling_resize", 2))
            width, height = factor * shape[1], factor * shape[0]
        return round(width), round(height)
    except (ValueError, OverflowError) as error:
        raise RequestError("upscaling_resize", "be a number", "other") from error
