"""The best linear encoder, as the weights of a KL autoencoder's encoder: nothing to train.

Where compute is scarce the encoder is not learnt. The principal components of square patches are
the linear code of least squared error; the stride-2 convolutions of the encoder gather a patch
step by step, so they can compute its components exactly, while every residual branch is zero.
Two things in the way are led around: the norm before the last convolution is held constant by
two large opposite constants in every group, and its SiLU is used where it is straight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sfumato.networks.autoencoder import ImageEncoder

STRAIGHT = 16.0  # silu(x) is x for x > 8, within 0.003
CONSTANT = 120.0  # of signals of variance one: the norm varies by less than 1e-3


@dataclass(frozen=True)
class Components:
    """latents = (patch - mean) @ matrix; mean (P,), matrix (P, C), for P = side * side * 3."""

    mean: np.ndarray
    matrix: np.ndarray
    side: int

    def encode(self, pictures: np.ndarray) -> np.ndarray:
        """Pictures (B, H, W, 3) in -1..1 -> latents (B, h, w, C) of mean 0 and variance 1."""
        return (patches(pictures, self.side) - self.mean) @ self.matrix


def load(path: Path) -> Components:
    with np.load(path) as file:
        return Components(file["mean"], file["matrix"], int(file["side"]))


def patches(pictures: Any, side: int, library: Any = np) -> Any:
    """(B, H, W, 3) -> (B, H / side, W / side, side * side * 3), by NumPy or ``keras.ops``."""
    B, H, W, C = pictures.shape
    x = library.reshape(pictures, (B, H // side, side, W // side, side, C))
    x = library.transpose(x, (0, 1, 3, 2, 4, 5))
    return library.reshape(x, (B, H // side, W // side, side * side * C))


def fit(batches: Iterable[np.ndarray], side: int, channels: int) -> Components:
    """The first principal components of the patches of batches of pictures (B, H, W, 3) in -1..1.

    Component i is divided by the square root of its standard deviation: halfway to white, so
    that the coarse ones still lead the denoiser and the fine ones are not lost in its noise.
    """
    count, total, products = 0, 0.0, 0.0
    for pictures in batches:
        x = patches(pictures, side).reshape(-1, side * side * 3)
        count, total, products = (
            count + len(x),
            total + x.sum(0, dtype="float64"),
            products + x.T @ x,
        )
    mean = total / count
    variance, vectors = np.linalg.eigh(products / count - np.outer(mean, mean))
    order = np.argsort(variance)[::-1][:channels]
    deviation = np.sqrt(variance[order])
    matrix = vectors[:, order] / np.sqrt(deviation)
    matrix /= np.sqrt(np.mean(deviation))  # the variance over all channels becomes one
    return Components(mean.astype("float32"), matrix.astype("float32"), side)


def recover(
    encode: Callable[[np.ndarray], np.ndarray], batches: Iterable[np.ndarray], side: int
) -> Components:
    """The components that a constructed encoder computes, from what it makes of pictures: where
    only its weights were kept, the training goes on with the same latents.

    Least squares with a small weight on the matrix itself, for directions that pictures lack.
    """
    count, sums, products, cross = 0, 0.0, 0.0, 0.0
    for pictures in batches:
        x = patches(pictures, side).reshape(-1, side * side * 3)
        y = encode(pictures).reshape(len(x), -1)
        pair = np.concatenate([x.sum(0, dtype="float64"), y.sum(0, dtype="float64")])
        count, sums = count + len(x), sums + pair
        products, cross = products + x.T @ x, cross + x.T @ y
    mean, latent = np.split(sums / count, [side * side * 3])
    covariance = products / count - np.outer(mean, mean)
    covariance += 1e-6 * np.trace(covariance) / len(mean) * np.eye(len(mean))
    matrix = np.linalg.solve(covariance, cross / count - np.outer(mean, latent))
    # encode(x) = (x - m) matrix, so m is moved until the mean gives the mean of the latents.
    shift = latent @ np.linalg.pinv(matrix)
    return Components((mean - shift).astype("float32"), matrix.astype("float32"), side)


def construct(encoder: ImageEncoder, components: Components, pictures: np.ndarray) -> None:
    """Give an encoder the weights that compute these components.

    Args:
        encoder: with as many stride-2 levels as the patches' side has factors of two, and at least
            twice as many channels per group of its last norm as it has latents there, and two.
        components: what it has to compute.
        pictures: (B, H, W, 3) in -1..1, to find what the narrow levels can carry best.
    """
    from sfumato.networks.network import keys

    c = encoder.config
    codes, matrices = pictures, []
    for level, width in enumerate(c.channels[:-2]):
        gathered = patches(codes, 2)
        most = min(gathered.shape[-1], width)
        matrices.append(principal(gathered, most))
        codes = gathered @ matrices[level]
    large, shift = regress(patches(codes, 2), components.encode(pictures))
    matrices.append(large)

    values = {key: np.zeros(v.shape, "float32") for key, v in keys(encoder).items()}
    for key in values:
        if "norm" in key and key.endswith("weight"):
            values[key] += 1
    values["encoder.conv_in.weight"][1, 1, :, :3] = np.eye(3)
    for level, matrix in enumerate(matrices):
        width = matrix.shape[0] // 4
        kernel = values[f"encoder.down_blocks.{level}.downsamplers.0.conv.weight"]
        kernel[:2, :2, :width, : matrix.shape[1]] = matrix.reshape(2, 2, width, -1)
        shortcut = f"encoder.down_blocks.{level}.resnets.0.conv_shortcut.weight"
        if level and shortcut in values:
            values[shortcut] += np.eye(*values[shortcut].shape)
    last = len(matrices) - 1
    values[f"encoder.down_blocks.{last}.downsamplers.0.conv.bias"][: len(shift)] = shift
    straighten(values, last + 1, len(shift), c.groups)
    for key, variable in keys(encoder).items():
        variable.assign(values[key])


def straighten(values: dict[str, np.ndarray], level: int, latents: int, groups: int) -> None:
    """Lead the latents through the last norm and its SiLU as if these were not there.

    A group holds its latents, their negatives, so that its mean is zero, and two constants, which
    make its variance.
    """
    into = values[f"encoder.down_blocks.{level}.resnets.0.conv_shortcut.weight"]
    bias = values[f"encoder.down_blocks.{level}.resnets.0.conv_shortcut.bias"]
    gamma, beta = (values[f"encoder.conv_norm_out.{part}"] for part in ("weight", "bias"))
    out, out_bias = (values[f"encoder.conv_out.{part}"] for part in ("weight", "bias"))
    width, each = into.shape[1] // groups, latents // groups
    into[:] = 0
    for latent in range(latents):
        channel = latent // each * width + latent % each
        into[latent, channel], into[latent, channel + each] = 1, -1
        gamma[channel], beta[channel] = CONSTANT * np.sqrt(2 / width), STRAIGHT
        out[1, 1, channel, latent] = 1
    for group in range(groups):
        bias[group * width + 2 * each : group * width + 2 * each + 2] = CONSTANT, -CONSTANT
    out_bias[:latents], out_bias[latents:] = -STRAIGHT, -20.0
    values["quant_conv.weight"] += np.eye(2 * latents)


def principal(x: np.ndarray, count: int) -> np.ndarray:
    """The first principal directions of the vectors (..., P), as columns (P, count)."""
    x = x.reshape(-1, x.shape[-1])
    variance, vectors = np.linalg.eigh(x.T @ x / len(x))
    return vectors[:, np.argsort(variance)[::-1][:count]].astype("float32")


def regress(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The matrix (P, C) and shift (C,) with y = x @ matrix + shift in least squares."""
    x = x.reshape(-1, x.shape[-1])
    ones = np.concatenate([x, np.ones((len(x), 1), x.dtype)], axis=1)
    found = np.linalg.lstsq(ones, y.reshape(len(x), -1), rcond=None)[0]
    return found[:-1].astype("float32"), found[-1].astype("float32")
