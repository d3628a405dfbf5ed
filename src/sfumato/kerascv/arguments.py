"""From the arguments of KerasCV's methods to requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from sfumato._numbers import LAST_SEED
from sfumato.request import Request
from sfumato.request.fields import RequestError, checked, specs

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
    asked_for = {name for name, spec in specs(Request).items() if spec.group}
    known = asked_for - TAKEN - {"image", "mask", "strength"}
    if unknown := sorted(fields.keys() - known):
        raise TypeError(
            f"The options must be among {', '.join(sorted(known))}. Received: {', '.join(unknown)}"
        )
    sides = {n: field(n, fields[n]) for n in ("height", "width") if fields.get(n) is not None}
    asked = {"steps": num_steps, "guidance": guidance, "prompt_syntax": "plain"}
    return asked | fields | sides


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

    total = len(texts) * count
    if seed + total - 1 > LAST_SEED:
        raise RequestError.of("seed", f"be at most 2**64 - {total} for {total} pictures", seed)
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
    images = [field("image", x) for x in as_arrays(image, (*size, 3), count, "image")]
    fields = [{"image": images[i % len(images)]} for i in range(count)]
    if mask is None:
        return fields
    masks = as_arrays(mask, size, count, "mask").astype("float32")
    if not 0 <= masks.min() <= masks.max() <= 1:  # here of any type
        received = f"mask with values from {masks.min()} to {masks.max()}"
        raise RequestError("mask", "have values from 0 to 1", received)
    masks = [field("mask", x) for x in masks]
    return [{**pair, "mask": masks[i % len(masks)]} for i, pair in enumerate(fields)]


def as_arrays(given: Any, shape: tuple[int, ...], count: int, name: str) -> np.ndarray:
    """One array of a shape, or ``count`` of them: (1 or count, ...)."""
    found = finite(given, name)
    if found.dtype.kind in "fV":
        found = found.astype("float32")
    if found.shape not in (shape, (1, *shape), (count, *shape)):
        must = f"have shape {shape}, or ({count}, ...) for {count} pictures"
        raise RequestError(name, must, f"{name} of shape {found.shape}")
    return found.reshape(-1, *shape)


def rows(array: Any, rank: int, count: int, name: str) -> np.ndarray:
    """An array of one picture (``rank`` axes) or of each, as (count, ...)."""
    array = finite(array, name)
    if array.ndim == rank:
        array = array[None]
    if array.ndim != rank + 1 or len(array) not in (1, count):
        must = (
            f"have {rank} axes, or {rank + 1} of which the first is 1 or the number "
            f"of pictures, {count}"
        )
        raise RequestError(name, must, f"{name} of shape {array.shape}")
    return np.repeat(array, count, axis=0) if len(array) < count else array


def finite(array: Any, name: str) -> np.ndarray:
    """An array of finite numbers; RequestError if it is none."""
    try:
        found = np.asarray(array)
    except ValueError as error:  # rows of several lengths
        raise RequestError(name, "be one array", f"{name}: {error}") from error
    if found.dtype.kind not in "biufV":  # V: bfloat16, which NumPy does not know
        received = f"{name}={array!r}" if found.ndim == 0 else f"{name} of {found.dtype}"
        raise RequestError(name, "be an array of numbers", received)
    with np.errstate(over="ignore"):
        is_finite = np.isfinite(found.astype("float32"))
    if not is_finite.all():
        received = f"{name} of which {np.sum(~is_finite)} of {is_finite.size} are not"
        raise RequestError(name, "have finite numbers", received)
    return found


def field(name: str, value: Any) -> Any:
    """An argument as the field of a request that it is; RequestError if it cannot be.

    It is taken in its own type before anything is computed from it: small types of NumPy overflow.
    """
    return checked(name, specs(Request)[name], value)


def sizes(height: Any, width: Any) -> tuple[int, int]:
    """The sides of a picture that some model can have; RequestError if there is none."""
    with kerascv_names():
        sides = field("height", height), field("width", width)
        for name, side in zip(("height", "width"), sides, strict=True):
            if side % 8:
                raise RequestError.of(name, "be a multiple of 8", side)
        return sides
