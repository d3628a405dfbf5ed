"""Where the time of a step goes: every distinct layer timed by itself, times how often it occurs.

What a step takes beyond that sum (or less, where the compiler fuses across layers) is "other".
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

from benchmarks.operations import Operation, tally, unet_operations
from sfumato.networks.configs import UNetConfig

REPEATS = 3


def seconds_by_kind(
    config: UNetConfig,
    latent: int,
    batch: int,
    prepare: Callable[[Operation, int], Callable[[], float]],
) -> dict[str, float]:
    """Seconds of the layers of one evaluation of the denoiser, by kind.

    Args:
        config: of the denoiser.
        latent: side of the latents.
        batch: samples in one evaluation.
        prepare: (operation, batch) -> a function that returns its seconds.
    """
    found: dict[str, float] = {}
    for operation, count in tally(unet_operations(config, latent, latent)).items():
        seconds = count * prepare(operation, batch)()
        found[operation.kind] = found.get(operation.kind, 0.0) + seconds
    return found


def inputs_of(operation: Operation, batch: int) -> list[tuple[int, ...]]:
    """The shapes of the arrays that the operation takes, channels last."""
    shape = operation.shape
    if operation.kind == "convolution":
        return [(batch, shape[0], shape[1], shape[2])]
    if operation.kind == "linear":
        return [(batch, shape[0], shape[1])]
    if operation.kind == "attention":
        queries, keys, heads, width = shape
        return [(batch, queries, heads, width), *[(batch, keys, heads, width)] * 2]
    positions, width, groups = shape
    side = int(positions**0.5)
    if groups and side * side == positions:
        return [(batch, side, side, width)]
    return [(batch, positions, 1, width) if groups else (batch, positions, width)]


def seconds_of(run: Callable[[], Any], wait: Callable[[Any], Any], calls: int) -> float:
    """Median seconds of a call, of which ``calls`` are sent before waiting; the first is apart."""
    wait(run())
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        for _ in range(calls):
            result = run()
        wait(result)
        seconds.append((time.perf_counter() - start) / calls)
    return median(seconds)
