"""All trainings on an accelerator, in one process and in calls of limited length.

    KERAS_BACKEND=jax python -m recipes.mini.gpu --work RUN --minutes 8 [--out FOLDER]

RUN needs `drawings.npz` of `recipes.mini.data`, 17 MB, and, to go on from an earlier call on
another machine, the pieces that it wrote. A call divides its minutes among the stages that are not
finished, and ends with the weights of each in ``--out``, in pieces of at most 15 MB: `--work` with
these pieces in it is where the next call goes on, and what `export` and the CPU's trainings take.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from recipes.mini import autoencoder, denoiser, turbo
from recipes.mini.config import Configuration, arguments
from recipes.mini.latents import make_components, open_latents
from recipes.mini.shipped import read_pieces, weights_of, write_pieces
from recipes.mini.training import Trainer

log = logging.getLogger(__name__)
STAGES: dict[str, tuple[Callable[..., Trainer], float]] = {
    "autoencoder": (autoencoder.train, 0.4),
    "denoiser": (denoiser.train, 0.6),
    "turbo": (turbo.train, 0.0),
}
"""What trains a stage, and its share of a call; the last one gets what the others leave."""
SPARE = 0.5  # minutes for writing at the end


def trained(stage: str, config: Configuration, work: Path) -> bool:
    """Whether an earlier call finished a stage."""
    pieces = read_pieces(work, stage)
    return pieces is not None and int(pieces["step"]) >= steps(stage, config)


def steps(stage: str, config: Configuration) -> int:
    return getattr(config, f"{stage}_training").steps


def shares(open_stages: list[str]) -> dict[str, float]:
    """Of the time of a call; the distillation waits for its teacher."""
    asked = {stage: STAGES[stage][1] for stage in open_stages}
    total = sum(asked.values())
    return {stage: share / total if total else 1.0 for stage, share in asked.items()}


def run(config: Configuration, work: Path, out: Path, minutes: float) -> None:
    """Train for so many minutes, and write the weights of every stage that was reached."""
    begun = time.monotonic()
    make_components(config, work)
    open_latents(config, work)  # made by all workers, before any of them trains
    log.info("data after %.1f minutes", (time.monotonic() - begun) / 60)
    left = [stage for stage in STAGES if not trained(stage, config, work)]
    for stage, share in shares(left).items():
        end = minutes - SPARE - (time.monotonic() - begun) / 60
        rest = sum(shares(left)[s] for s in left[left.index(stage) :])
        given = end * share / rest if rest else end
        if given <= 0:
            continue
        trainer = STAGES[stage][0](config, work, given)
        for path in write_pieces(out, stage, weights_of(trainer)):
            log.info("%s: step %d, %.1f MB", path, trainer.step, path.stat().st_size / 1e6)


def main() -> None:
    options = {"minutes": {"type": float, "default": 8.0}, "out": {"type": Path, "default": None}}
    config, work, minutes, out = arguments(__doc__, default="gpu", **options)
    (out or work).mkdir(parents=True, exist_ok=True)
    run(config, work, out or work, minutes)


if __name__ == "__main__":
    main()
