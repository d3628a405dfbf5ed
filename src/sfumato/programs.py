"""What runs on the device: encode, condition, step and decode; nothing else touches it.

Each is a function of arrays alone. ``step`` is told by a table on the device what to do at each
evaluation of the network, so one executable serves every sampler, number of steps, guidance scale,
seed and prompt of a shape.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from keras import ops

from sfumato.diffusion.denoisers import guide, scalings
from sfumato.diffusion.plan import Plan
from sfumato.networks.autoencoder import ImageDecoder, ImageEncoder
from sfumato.networks.kernels import Tensor
from sfumato.networks.layers import timestep_embedding
from sfumato.networks.text_encoder import TextEncoder
from sfumato.networks.unet import UNet
from sfumato.pictures.tiling import tiled as tiled

ROWS = 1024  # evaluations that a table has room for, so that its shape says nothing about steps
SIZES_WIDTH = 256  # of the sinusoids for each of XL's six sizes


class State(NamedTuple):
    """What a step hands to the next: which evaluation it is, and the sampler's registers."""

    index: Tensor  # () int32
    registers: Tensor  # (K, B, h, w, C) float32; the first is what the network sees next


class Conditioning(NamedTuple):
    """What does not change while denoising; guided: the prompts, then the negative prompts."""

    texts: list[tuple[Tensor, Tensor]]  # keys and values (B or 2B, T, N, D) of every layer
    added: Tensor | None  # XL: pooled text and sizes (B or 2B, A)

    def of_prompts(self, count: int) -> Conditioning:
        """Without the negative prompts."""
        texts = [(k[:count], v[:count]) for k, v in self.texts]
        return Conditioning(texts, None if self.added is None else self.added[:count])


class Inpainting(NamedTuple):
    """What is known of the picture, at the size of the latents."""

    mask: Tensor  # (B, h, w, 1), 1: repaint
    known: Tensor  # (B, h, w, C) latents
    channels: Tensor | None  # (B, h, w, 1 + C): what an inpainting network sees beside its input


def tabulate(plan: Plan, prediction: str) -> np.ndarray:
    """A sampler's plan as the table that ``step`` reads: (ROWS, 4 + K (K + 2)) float32."""
    evaluations = len(plan.sigma)
    rows = ROWS * -(-evaluations // ROWS)
    scales = np.stack([*scalings(prediction, plan.sigma), plan.timestep], axis=1)
    table = np.concatenate([scales, plan.matrix.reshape(evaluations, -1)], axis=1)
    return np.pad(table, ((0, rows - evaluations), (0, 0))).astype("float32")


def encode_text(encoders: list[TextEncoder], tokens: list[Tensor]) -> tuple[Tensor, Tensor]:
    """tokens (B, T) for each encoder -> context (B, T, C) and pooled (B, P), both float32."""
    outputs = [encoder.encode(t) for encoder, t in zip(encoders, tokens, strict=True)]
    context = ops.concatenate([ops.cast(c, "float32") for c, _ in outputs], axis=-1)
    return context, ops.cast(outputs[-1][1], "float32")


def condition(
    unet: UNet, context: Tensor, pooled: Tensor | None, sizes: Tensor | None
) -> Conditioning:
    """context (B, T, C) and, for XL, pooled (B, P) and its six sizes (B, 6) in pixels."""
    added = None
    if sizes is not None:
        waves = timestep_embedding(ops.reshape(sizes, (-1,)), SIZES_WIDTH)
        waves = ops.reshape(waves, (-1, sizes.shape[1] * SIZES_WIDTH))
        added = ops.concatenate([pooled, waves], axis=-1)
    return Conditioning(unet.embed_text(context), added)


def step(
    unet: UNet,
    state: State,
    table: Tensor,
    noise: Tensor,
    guidance: Tensor,
    conditioning: Conditioning,
    inpainting: Inpainting | None,
    deep: Tensor | None = None,
    *,
    keep: bool = False,
    token_merging: float = 0.0,
) -> tuple[State, Tensor, Tensor, Tensor | None]:
    """One evaluation of the network and what the sampler makes of it.

    Args:
        unet: the network.
        state: of the step before.
        table: of ``tabulate``.
        noise: (B, h, w, C) standard normal; zeros where the sampler wants none.
        guidance: (2,) the scale and the rescale; unread where there is no negative prompt.
        conditioning: of ``condition``.
        inpainting: what is known of the picture, or None.
        deep: what the deep part of the network gave at an earlier evaluation; None: compute it.
        keep: give it out for later ones.
        token_merging: the part of the tokens that are merged where self-attention has the most.

    Returns:
        The next state, the denoised latents (B, h, w, C), whether the next state is finite, and
        what is kept of the network's deep part, or None.
    """
    index, registers = state
    x, B, K = registers[0], registers.shape[1], registers.shape[0]
    row = ops.take(table, index, axis=0)
    c_skip, c_out, c_in, timestep = row[0], row[1], row[2], row[3]
    matrix = ops.reshape(row[4:], (K, K + 2, 1, 1, 1, 1))
    guided = conditioning.texts[0][0].shape[0] == 2 * B

    y = x * c_in
    if inpainting is not None and inpainting.channels is not None:
        y = ops.concatenate([y, inpainting.channels], axis=-1)
    waves = timestep_embedding(timestep[None], unet.config.channels[0])
    shifts = unet.embed_time(waves, conditioning.added)
    merging = unet.token_merging(token_merging, *y.shape[1:3]) if token_merging else None
    first = unet.conv_in(y)
    if deep is None:
        deep = unet.deepen(first, shifts, conditioning.texts, merging)
    y = ops.cast(unet.finish(first, deep, shifts, conditioning.texts, merging), "float32")
    if guided:
        y = guide(y[:B], y[B:], guidance[0], guidance[1])

    denoised = c_skip * x + c_out * y
    if inpainting is not None:
        mask = inpainting.mask
        denoised = mask * denoised + (1 - mask) * inpainting.known
    inputs = ops.concatenate([registers, denoised[None], noise[None]], axis=0)
    # Not a matmul: that would be rounded to TF32 on an accelerator.
    registers = ops.sum(matrix * inputs[None], axis=1)
    finite = ops.all(ops.isfinite(registers[0]))
    return State(index + 1, registers), denoised, finite, deep if keep else None


def decode(decoder: ImageDecoder, latents: Tensor) -> tuple[Tensor, Tensor]:
    """latents (B, h, w, C) -> picture (B, H, W, 3) uint8, and whether all of it was finite."""
    x = ops.cast(decoder(latents), "float32")
    return quantize(x), ops.all(ops.isfinite(x))


def quantize(x: Tensor) -> Tensor:
    """-1..1 -> uint8 0..255, rounded."""
    return ops.cast(ops.round(ops.clip(x * 127.5 + 127.5, 0, 255)), "uint8")


def encode(encoder: ImageEncoder, pictures: Tensor) -> Tensor:
    """pictures (B, H, W, 3) of 0..255 -> latents (B, h, w, C) float32: the mean, scaled."""
    return ops.cast(encoder(ops.cast(pictures, "float32") / 127.5 - 1), "float32")
