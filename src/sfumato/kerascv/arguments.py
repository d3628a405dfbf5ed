"""From the arguments of KerasCV's methods to requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from sfumato.pictures.pixels import as_image, as_mask
from sfumato.request import Request
from sfumato.request.fields import RequestError, specs

KERASCV = {
    "steps": "num_steps",
    "guidance": "unconditional_guidance_scale",
    "count": "batch_size",
    "noise": "diffusion_noise",
    "height": "img_height",
    "width": "img_width",
}
"""KerasCV's names of what we call otherwise."""

TAKEN = {"prompt", "negative_prompt", "steps", "guidance", "count", "seed"}
"""The fields that are arguments of their own."""

NOTED = {"template", "negative_template"}
"""The fields that no one asks for."""


@contextmanager
def kerascv_names() -> Iterator[None]:
    """Name arguments in errors as KerasCV's methods do."""
    try:
        yield
    except RequestError as error:
        if error.name not in KERASCV:
            raise
        name = KERASCV[error.name]
        received = error.received.replace(f"{error.name}=", f"{name}=", 1)
        raise RequestError(name, error.must, received) from error


def settings(
    num_steps: int | None, guidance: float | None, fields: dict[str, Any]
) -> dict[str, Any]:
    """The fields of a request that all pictures of a call share."""
    known = specs(Request).keys() - TAKEN - {"image", "mask", "strength"} - NOTED
    if unknown := sorted(fields.keys() - known):
        raise TypeError(
            f"The options must be among {', '.join(sorted(known))}. Received: {', '.join(unknown)}"
        )
    return {"steps": num_steps, "guidance": guidance, "prompt_syntax": "plain", **fields}


def prompts(prompt: str | Sequence[str], name: str = "prompt") -> list[str]:
    """One prompt or several as a list."""
    found: Any = list(prompt) if isinstance(prompt, (list, tuple)) else [prompt]
    if not found or not all(isinstance(text, str) for text in found):
        raise RequestError.of(name, "be a string or strings", prompt)
    return found


def requests(
    texts: list[str],
    negative_prompt: str | Sequence[str] | None,
    count: int,
    seed: int,
    settings: dict[str, Any],
    pictures: Sequence[dict[str, Any]] = (),
) -> list[Request]:
    """A request for each prompt, or for each picture where each begins from one of its own.

    Picture i of all starts from the noise of ``seed + i``.
    """
    negatives: list[str | None] = [None]
    if negative_prompt is not None:
        negatives = [*prompts(negative_prompt, "negative_prompt")]
    if len(negatives) not in (1, len(texts)):
        must = "be one, or one for each prompt"
        received = f"{len(negatives)} for {len(texts)} prompts"
        raise RequestError("negative_prompt", must, received)
    if len(negatives) < len(texts):
        negatives *= len(texts)

    if pictures:
        texts = [text for text in texts for _ in range(count)]
        negatives = [negative for negative in negatives for _ in range(count)]
        count = 1
    return [
        Request(
            prompt=text,
            negative_prompt=negative,
            count=count,
            seed=seed + i * count,
            **settings,
            **(pictures[i] if pictures else {}),
        )
        for i, (text, negative) in enumerate(zip(texts, negatives, strict=True))
    ]


def start_noise(noise: Any, seed: int | None, count: int) -> np.ndarray | None:
    """The start noise (B, h, w, C) that is given in place of a seed."""
    if noise is None:
        return None
    if seed is not None:
        received = f"seed={seed}, diffusion_noise of shape {np.shape(noise)}"
        raise RequestError("diffusion_noise", "not be given with `seed`", received)
    return rows(noise, 3, count, "diffusion_noise")


def pictures(image: Any, mask: Any, size: tuple[int, int], count: int) -> list[dict[str, Any]]:
    """The picture and the mask that each of ``count`` pictures begins from, as fields."""
    images = [as_image(x) for x in checked(image, (*size, 3), count, "image")]
    fields = [{"image": images[i % len(images)]} for i in range(count)]
    if mask is None:
        return fields
    masks = [as_mask(x) for x in checked(mask, size, count, "mask")]
    return [{**field, "mask": masks[i % len(masks)]} for i, field in enumerate(fields)]


def checked(given: Any, shape: tuple[int, ...], count: int, name: str) -> np.ndarray:
    """One array of a shape, or ``count`` of them, as float32 (1 or count, ...)."""
    found = np.asarray(given, "float32")
    if found.shape not in (shape, (1, *shape), (count, *shape)):
        must = f"have shape {shape}, or ({count}, ...) for {count} pictures"
        raise RequestError(name, must, f"{name} of shape {found.shape}")
    most = 255 if len(shape) == 3 else 1
    if not 0 <= found.min() <= found.max() <= most:
        received = f"{name} with values from {found.min()} to {found.max()}"
        raise RequestError(name, f"have values from 0 to {most}", received)
    return found.reshape(-1, *shape)


def rows(array: Any, rank: int, count: int, name: str) -> np.ndarray:
    """An array of one picture (``rank`` axes) or of each, as (count, ...)."""
    array = np.asarray(array)
    if array.ndim == rank:
        array = array[None]
    if array.ndim != rank + 1 or len(array) not in (1, count):
        must = (
            f"have {rank} axes, or {rank + 1} of which the first is 1 or the number "
            f"of pictures, {count}"
        )
        raise RequestError(name, must, f"{name} of shape {array.shape}")
    return np.repeat(array, count, axis=0) if len(array) < count else array


def check_count(count: Any) -> int:
    """A number of pictures; RequestError if it is none."""
    return Request(prompt="", count=count).count


def check_size(height: Any, width: Any) -> None:
    """Raise a RequestError unless these are sides of a picture that some model can have."""
    for name, size in (("img_height", height), ("img_width", width)):
        if not isinstance(size, int) or size < 8 or size % 8:
            raise RequestError.of(name, "be a multiple of 8", size)
