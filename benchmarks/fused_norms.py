"""Group normalization and SiLU in one pass for the statistics and one for the result, on GPUs.

XLA's own reads a map three times: for the mean, for the variance and for the result. These kernels,
written in Pallas for its Triton lowering, read it twice, and small maps once. They are forward only
and a variant of ``benchmarks gpu``, which switches them on: Sfumato does without them until they
have been measured.

Maps are channels last, so that a program's loads are whole stretches of memory. Triton's blocks
are powers of two; groups of 10, 20, 30, 40, 60 and 80 channels are masked.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from keras import ops

from sfumato.networks import autoencoder, layers, unet

Array = jax.Array

WHOLE = 16384  # elements of a group that one program holds in registers
TILE = 4096  # elements of a map that one program holds
ROWS = 64  # positions of such a tile, at least


def install() -> None:
    """Let the networks use these kernels from now on in this process, where it has a GPU."""
    if jax.default_backend() == "gpu":
        for module in (layers, unet, autoencoder):
            module.activate = activate


def activate(norm: Any, x: Array, shift: Array | None = None) -> Array:
    """As ``networks.layers.activate``: x (B, H, W, C), shift (B or 1, 1, 1, C)."""
    gamma, beta = (ops.convert_to_tensor(v) for v in (norm.gamma, norm.beta))
    offset = None if shift is None else shift[:, 0, 0]
    return group_norm_silu(x, gamma, beta, norm.groups, norm.epsilon, offset)


def group_norm_silu(
    x: Array,
    gamma: Array,
    beta: Array,
    groups: int,
    epsilon: float,
    offset: Array | None = None,
    interpret: bool = False,
) -> Array:
    """silu(group_norm(x + offset)), with the statistics and all arithmetic in float32.

    Args:
        x: (B, H, W, C) in float16, bfloat16 or float32.
        gamma: (C,) the scale after the norm.
        beta: (C,) the shift after the norm.
        groups: of channels; a divisor of C.
        epsilon: added to the variance.
        offset: (B or 1, C) added before the norm, such as a projected time.
        interpret: run the kernels in Pallas' interpreter, on any device.

    Returns:
        (B, H, W, C) in the dtype of ``x``.
    """
    B, H, W, C = x.shape
    if C % groups:
        raise ValueError(f"`groups` must divide the channels. Received: groups={groups}, C={C}")
    offset = jnp.zeros((1, C)) if offset is None else offset
    vectors = [v.astype("float32") for v in (gamma, beta, jnp.broadcast_to(offset, (B, C)))]
    maps = x.reshape(B, H * W, C)
    size = power_of_2(H * W) * power_of_2(C // groups)
    normalize = whole if size <= WHOLE else in_tiles
    y = normalize(maps, vectors, groups, epsilon, partial(call, interpret=interpret))
    return y.reshape(x.shape)


def power_of_2(number: int) -> int:
    """The least power of two that is not less."""
    return 1 << (number - 1).bit_length()


def call(kernel: Any, grid: tuple[int, ...], out: Any, *arrays: Array, interpret: bool) -> Any:
    return pl.pallas_call(
        kernel,
        grid=grid,
        out_shape=out,
        compiler_params=triton.CompilerParams(num_warps=8),
        interpret=interpret,
    )(*arrays)


def silu(x: Array) -> Array:
    return x / (1 + jnp.exp(-x))


def counter(size: int, axis: int) -> Array:
    """0, 1, 2, ... along one of two axes."""
    return jax.lax.broadcasted_iota("int32", (size, 1) if axis == 0 else (1, size), axis)


# Small maps: a program holds all of a group


def whole(x: Array, vectors: list[Array], groups: int, epsilon: float, call: Any) -> Array:
    B, P, C = x.shape
    kernel = partial(whole_kernel, positions=P, width=C // groups, epsilon=epsilon)
    out = jax.ShapeDtypeStruct(x.shape, x.dtype)
    return call(kernel, (B, groups), out, x, *vectors)


def whole_kernel(
    x: Any,
    gamma: Any,
    beta: Any,
    offset: Any,
    out: Any,
    *,
    positions: int,
    width: int,
    epsilon: float,
) -> None:
    b, group = pl.program_id(0), pl.program_id(1)
    rows, columns = power_of_2(positions), power_of_2(width)
    ours, row = pl.ds(group * width, columns), pl.ds(0, rows)
    inside = counter(columns, 1) < width  # (1, D)
    mask = inside & (counter(rows, 0) < positions)  # (P, D)
    vector = partial(triton.load, mask=inside[0], other=0.0)

    values = triton.load(x.at[b, row, ours], mask=mask, other=0.0).astype("float32")
    values += vector(offset.at[b, ours])[None]
    mean = jnp.sum(jnp.where(mask, values, 0.0)) / (positions * width)
    values -= mean
    variance = jnp.sum(jnp.where(mask, values * values, 0.0)) / (positions * width)
    scale = vector(gamma.at[ours]) * jax.lax.rsqrt(variance + epsilon)
    y = silu(values * scale[None] + vector(beta.at[ours])[None])
    triton.store(out.at[b, row, ours], y.astype(out.dtype), mask=mask)


# Large maps: statistics of every channel of every tile, then of the groups, then the result


def in_tiles(x: Array, vectors: list[Array], groups: int, epsilon: float, call: Any) -> Array:
    B, P, C = x.shape
    rows = ROWS
    while pl.cdiv(P, rows) * power_of_2(C // groups) > WHOLE:
        rows *= 2
    tiles, columns = pl.cdiv(P, rows), min(power_of_2(C), max(32, TILE // rows))
    grid = (B, tiles, pl.cdiv(C, columns))
    shape = {"rows": rows, "columns": columns, "positions": P, "channels": C}

    statistics = [jax.ShapeDtypeStruct((B, tiles, C), "float32")] * 2
    means, squares = call(partial(tile_kernel, **shape), grid, statistics, x)

    kernel = partial(
        group_kernel, rows=rows, positions=P, tiles=tiles, width=C // groups, epsilon=epsilon
    )
    slopes = [jax.ShapeDtypeStruct((B, C), "float32")] * 2
    scale, shift = call(kernel, (B, groups), slopes, means, squares, *vectors)

    out = jax.ShapeDtypeStruct(x.shape, x.dtype)
    return call(partial(result_kernel, **shape), grid, out, x, scale, shift)


def tile_of(rows: int, columns: int, positions: int, channels: int) -> tuple[Any, Any, Any, Any]:
    """A tile's place in a map (B, P, C), its channels, the mask of both, the mask of channels."""
    b, i, j = pl.program_id(0), pl.program_id(1), pl.program_id(2)
    inside = counter(columns, 1) + j * columns < channels
    mask = inside & (counter(rows, 0) + i * rows < positions)
    ours = pl.ds(j * columns, columns)
    return (b, pl.ds(i * rows, rows), ours), ours, mask, inside[0]


def tile_kernel(x: Any, means: Any, squares: Any, **shape: int) -> None:
    """The mean of each channel of a tile, and the sum of squares about it."""
    place, ours, mask, inside = tile_of(**shape)
    b, i = place[0], pl.program_id(1)
    count = jnp.minimum(shape["rows"], shape["positions"] - i * shape["rows"])
    values = triton.load(x.at[place], mask=mask, other=0.0).astype("float32")
    mean = jnp.sum(values, axis=0) / count
    rest = jnp.where(mask, values - mean[None], 0.0)
    triton.store(means.at[b, i, ours], mean, mask=inside)
    triton.store(squares.at[b, i, ours], jnp.sum(rest * rest, axis=0), mask=inside)


def group_kernel(
    means: Any,
    squares: Any,
    gamma: Any,
    beta: Any,
    offset: Any,
    scale: Any,
    shift: Any,
    *,
    rows: int,
    positions: int,
    tiles: int,
    width: int,
    epsilon: float,
) -> None:
    """From the statistics of its parts those of a group (Chan et al. 1979): y = scale x + shift."""
    b, group = pl.program_id(0), pl.program_id(1)
    height, columns = power_of_2(tiles), power_of_2(width)
    ours, every = pl.ds(group * width, columns), pl.ds(0, height)
    inside = counter(columns, 1) < width
    mask = inside & (counter(height, 0) < tiles)  # (tiles, D)
    vector = partial(triton.load, mask=inside[0], other=0.0)

    counts = jnp.minimum(rows, positions - counter(height, 0) * rows)
    counts = jnp.where(mask, counts, 0).astype("float32")
    moved = vector(offset.at[b, ours])
    mean = triton.load(means.at[b, every, ours], mask=mask, other=0.0) + moved[None]
    square = triton.load(squares.at[b, every, ours], mask=mask, other=0.0)
    center = jnp.sum(counts * mean) / (positions * width)
    variance = jnp.sum(square + counts * (mean - center) ** 2) / (positions * width)
    slope = vector(gamma.at[ours]) * jax.lax.rsqrt(variance + epsilon)
    start = vector(beta.at[ours]) + (moved - center) * slope
    triton.store(scale.at[b, ours], slope, mask=inside[0])
    triton.store(shift.at[b, ours], start, mask=inside[0])


def result_kernel(x: Any, scale: Any, shift: Any, out: Any, **shape: int) -> None:
    place, ours, mask, inside = tile_of(**shape)
    b, vector = place[0], partial(triton.load, mask=inside, other=0.0)
    values = triton.load(x.at[place], mask=mask, other=0.0).astype("float32")
    y = silu(values * vector(scale.at[b, ours])[None] + vector(shift.at[b, ours])[None])
    triton.store(out.at[place], y.astype(out.dtype), mask=mask)
