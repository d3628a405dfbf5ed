"""The one place where the command line meets the library that makes pictures."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from sfumato._backend import import_keras

DEFAULT_MODEL = "mini"
# Width and height relative to the model's own square, at the same number of pixels.
RATIOS = {
    "square": (1.0, 1.0),
    "portrait": (math.sqrt(2 / 3), math.sqrt(3 / 2)),
    "landscape": (math.sqrt(3 / 2), math.sqrt(2 / 3)),
}


class Defaults(Protocol):
    """What suits a model."""

    @property
    def steps(self) -> int: ...
    @property
    def guidance(self) -> float: ...
    @property
    def sampler(self) -> str: ...
    def schedule_for(self, sampler: str | None) -> str | None: ...


class Pipeline(Protocol):
    """What the command line needs of `sfumato.StableDiffusion`."""

    @property
    def checkpoint(self) -> Defaults: ...

    def quantize(self, mode: str) -> None: ...

    def text_to_image(
        self,
        prompt: str,
        negative_prompt: str | None = None,
        batch_size: int = 1,
        num_steps: int = 25,
        unconditional_guidance_scale: float = 7.5,
        seed: int | None = None,
        *,
        sampler: str | None = None,
        schedule: str | None = None,
        guidance_interval: tuple[float, float] = (0.0, 1.0),
        feature_reuse: int = 1,
        token_merging: float = 0.0,
        on_step: Callable[[Any], None] | None = None,
        verbose: bool = True,
    ) -> np.ndarray: ...


def load_pipeline(model: str, size: tuple[int, int] | str | None, dtype: str | None) -> Pipeline:
    """The model, ready for pictures of `size`: (width, height), a word of `RATIOS`, or its own."""
    import_keras(alone=True)
    from sfumato import StableDiffusion

    if isinstance(size, str):
        own = StableDiffusion.from_preset(model, dtype=dtype)
        size = shaped(size, own.img_width)
    width, height = size or (None, None)
    return StableDiffusion.from_preset(model, img_height=height, img_width=width, dtype=dtype)


def shaped(word: str, side: int) -> tuple[int, int]:
    """(width, height) of a word of `RATIOS` for a model whose own pictures are `side` square.

    Small models go in steps of 8 pixels, the others in steps of 64, which all of them like best.
    """
    grain = 64 if side >= 512 else 8
    width, height = (max(1, round(side * ratio / grain)) * grain for ratio in RATIOS[word])
    return width, height
