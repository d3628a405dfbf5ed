"""All trainings on an accelerator, in one process and in calls of limited length.

    KERAS_BACKEND=jax python -m recipes.mini.gpu --work RUN --minutes 8 [--out FOLDER]

RUN needs `drawings.npz` of `recipes.mini.data`, 17 MB, `trunk.npz` of `recipes.mini.perceptual`
and, to go on from an earlier call on another machine, the pieces that it wrote. A call takes the
stages that are not finished, one after the other, and ends with the weights of each in ``--out``,
in pieces of at most 15 MB: `--work` with these pieces in it is where the next call goes on, and
what the CPU's trainings take.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

# Trying kernels out took a minute for each program on an H200: too much of a call.
os.environ.setdefault("XLA_FLAGS", "--xla_gpu_autotune_level=0")
# There are as many workers as cores: one thread for each.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from recipes.mini import autoencoder, denoiser, turbo
from recipes.mini.config import Configuration, arguments
from recipes.mini.latents import make_components, open_latents
from recipes.mini.shipped import read_pieces, weights_of, write_pieces
from recipes.mini.training import Trainer, progress

log = logging.getLogger(__name__)
STAGES: dict[str, Callable[..., Trainer]] = {
    "denoiser": denoiser.train,
    "autoencoder": autoencoder.train,
    "turbo": turbo.train,
}
SPARE = 0.2  # minutes for writing at the end


def trained(stage: str, config: Configuration, work: Path) -> bool:
    """Whether an earlier call finished a stage."""
    pieces = read_pieces(work, stage)
    training = getattr(config, f"{stage}_training")
    return pieces is not None and progress(training, pieces["step"], pieces["seconds"]) >= 1


def run(config: Configuration, work: Path, out: Path, minutes: float) -> None:
    """Train for so many minutes; write the weights at every checkpoint, so that a call that is cut
    short has not been for nothing."""
    begun = time.monotonic()
    make_components(config, work)
    open_latents(config, work)  # made by all workers, before any of them trains
    for stage in STAGES:
        passed = (time.monotonic() - begun) / 60
        log.info("%s: begins after %.1f minutes", stage, passed)
        left = minutes - SPARE - passed
        if left > 0 and not trained(stage, config, work):
            write = partial(write_weights, out, stage)
            write(STAGES[stage](config, work, left, write))


def write_weights(out: Path, stage: str, trainer: Trainer) -> None:
    for path in write_pieces(out, stage, weights_of(trainer)):
        log.info("%s: step %d, %.1f MB", path, trainer.step, path.stat().st_size / 1e6)


def main() -> None:
    options = {"minutes": {"type": float, "default": 8.0}, "out": {"type": Path, "default": None}}
    config, work, minutes, out = arguments(__doc__, default="gpu", **options)
    (out or work).mkdir(parents=True, exist_ok=True)
    run(config, work, out or work, minutes)


if __name__ == "__main__":
    main()
