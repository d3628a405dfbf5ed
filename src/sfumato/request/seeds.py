"""The seeds of a request's pictures, and the start noise that they stand for.

With a variation, A1111's rule holds: the pictures share the seed and count up the variation's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sfumato._numbers import LAST_SEED
from sfumato.request.fields import RequestError

if TYPE_CHECKING:
    import numpy as np

    from sfumato.request.request import Request

FIELDS = ("seed", "variation_seed", "variation_strength", "seed_resize")


def counted(request: Request) -> str:
    """The field that counts the pictures."""
    return "variation_seed" if request.variation_strength else "seed"


def later(request: Request, index: int) -> dict[str, int]:
    """The seed of picture ``index`` as a change of the request."""
    name = counted(request)
    return {name: (getattr(request, name) or 0) + index}


def draw() -> dict[str, int]:
    """Draw a number for each seed."""
    import secrets

    return {name: secrets.randbelow(2**32) for name in ("seed", "variation_seed")}


def chosen(request: Request, drawn: Mapping[str, int] | None = None) -> dict[str, int]:
    """The seeds that a request has use for, of those that were drawn, or new ones."""
    drawn = drawn or draw()
    return {name: drawn[name] for name in {"seed", counted(request)}}


def check(request: Request, grain: int) -> None:
    """Refuse seeds that would pass the last one, and a size of the noise that no latent has."""
    name, count = counted(request), request.count
    if (first := getattr(request, name)) + count - 1 > LAST_SEED:
        raise RequestError.of(name, f"be at most 2**64 - {count} for {count} pictures", first)
    if any(side % grain for side in request.seed_resize or ()):
        must = f"be a width and a height in multiples of {grain}"
        raise RequestError.of("seed_resize", must, request.seed_resize)


def start_noise(request: Request, shape: tuple[int, int, int], grain: int) -> np.ndarray:
    """The start noise (h, w, C) of a completed request for one picture.

    Args:
        request: with its seeds.
        shape: (h, w, C) of the latents.
        grain: pixels along a side of a latent.
    """
    from sfumato.diffusion.noise import latent_noise, placed, slerp

    width, height = request.seed_resize or (grain * shape[1], grain * shape[0])
    own = (height // grain, width // grain, shape[2])
    noise = latent_noise(request.seed or 0, *own)
    if request.variation_strength:
        other = latent_noise(request.variation_seed or 0, *own)
        noise = slerp(noise, other, request.variation_strength)
    return noise if own == shape else placed(noise, latent_noise(request.seed or 0, *shape))
