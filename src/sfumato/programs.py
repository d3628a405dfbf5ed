"""The functions that run on the device: pure functions of networks and arrays.

``evaluate`` reads from a table what to do at each evaluation of the network. So one executable
serves every sampler, number of steps, guidance scale, seed and prompt of a shape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from keras import ops

from sfumato.diffusion.denoisers import compose, guide, project
from sfumato.kernels import Tensor, repeating
from sfumato.networks.denoiser import (
    Aids,
    Conditioning,
    Denoiser,
    Memory,
    Projection,
    Residuals,
)
from sfumato.networks.network import Network
from sfumato.networks.text_encoder import LearnedRows, TextEncoder

if TYPE_CHECKING:
    from sfumato.networks.controlnet import ControlNet
    from sfumato.networks.ip_adapter import IPAdapter
    from sfumato.networks.t2i import T2IAdapter
    from sfumato.networks.vision import VisionEncoder


class State(NamedTuple):
    """The state of the loop between two evaluations."""

    index: Tensor  # () int32, of the evaluation
    registers: Tensor  # (K, B, h, w, C) float32; the first is what the network sees next


class Inpainting(NamedTuple):
    """The known part of the picture, at the size of the latents."""

    mask: Tensor  # (B, h, w, 1), 1: repaint
    latents: Tensor  # (B, h, w, C)


class Evaluation(NamedTuple):
    """The results of one evaluation."""

    state: State  # the next one
    denoised: Tensor  # (B, h, w, C), the picture as the network sees it now
    is_finite: Tensor  # () bool, of the next state
    deep: Tensor | None  # features for later evaluations, where they are kept
    projection: Projection | None  # for the next one, where guidance is projected


def evaluate(
    denoiser: Denoiser,
    state: State,
    table: Tensor,
    noise: Tensor,
    guidance: Tensor,
    conditioning: Conditioning,
    aids: Aids,
    inpainting: Inpainting | None,
    seamless: str | None = None,
    **ways: Any,
) -> Evaluation:
    """Evaluate the network once, and do with its answer what the sampler does.

    Args:
        denoiser: the network.
        state: of the evaluation before.
        table: of ``Plan.table``, (R, 4 + K (K + 2)).
        noise: (B, h, w, C) standard normal; zeros where the sampler wants none.
        guidance: (3,) the scale and the rescale, unread without negative prompts, and the scale of
            perturbed attention. (4,) with the scale of the picture, for a model that edits one.
        conditioning: of ``Denoiser.prepare``, for B prompts, or n B that are composed, maybe the
            same for perturbed attention, and maybe for B negative ones, for a model that edits
            pictures twice: the second ones are shown none.
        aids: what helps the network.
        inpainting: what is known of the picture, or None.
        seamless: the axes along which the picture repeats: "x", "y" or "both".
        ways: settings of the network that are compiled in.
    """
    index, registers = state
    K = registers.shape[0]
    x = registers[0]

    # What the table says of this evaluation
    row = ops.take(table, index, axis=0)
    c_skip, c_out, c_in, timestep = row[0], row[1], row[2], row[3]
    matrix = ops.reshape(row[4:], (K, K + 2, 1, 1, 1, 1))

    # The network's answer, and what it says of the picture
    with repeating(seamless):
        answer, deep = denoiser.predict(x * c_in, timestep, conditioning, aids, **ways)
    y = ops.cast(answer, "float32")
    y, projection = combine(y, x, row, guidance, conditioning, aids.projection)
    denoised = c_skip * x + c_out * y
    if inpainting is not None:
        mask = inpainting.mask
        denoised = mask * denoised + (1 - mask) * inpainting.latents

    # The sampler's step. Not a matmul: an accelerator would round that to TF32.
    inputs = ops.concatenate([registers, denoised[None], noise[None]], axis=0)
    registers = ops.sum(matrix * inputs[None], axis=1)
    is_finite = ops.all(ops.isfinite(registers[0]))
    return Evaluation(State(index + 1, registers), denoised, is_finite, deep, projection)


def combine(
    y: Tensor,
    x: Tensor,
    row: Tensor,
    guidance: Tensor,
    conditioning: Conditioning,
    projection: Projection | None,
) -> tuple[Tensor, Projection | None]:
    """One answer (B, h, w, C) of those to all texts (n B, h, w, C), by the rules of guidance."""
    B, shares = x.shape[0], conditioning.shares
    asked = B if shares is None else B * shares.shape[0]
    perturbed = None
    if conditioning.attending is not None:
        perturbed = y[asked : 2 * asked]
        y = ops.concatenate([y[:asked], y[2 * asked :]], axis=0)
    negative = y[asked:] if y.shape[0] > asked else None
    pictured = None
    if negative is not None and negative.shape[0] > B:  # Brooks et al. 2022, arXiv 2211.09800
        negative, nothing = negative[:B], negative[B:]
        pictured = (guidance[3] - 1.0) * (negative - nothing)
        y = y[: asked + B]
    if shares is not None:
        perturbed = None if perturbed is None else compose(perturbed, negative, shares)
        y = compose(y[:asked], negative, shares)
    cond = y if negative is None else y[:B]
    push = None if perturbed is None else guidance[2] * (cond - perturbed)
    if pictured is not None:
        push = pictured if push is None else push + pictured

    if negative is None:
        return cond if push is None else cond + push, projection
    if projection is not None:
        c_skip, c_out = row[0], row[1]
        shown, away = c_skip * x + c_out * cond, c_out * (cond - negative)
        away, average = project(shown, away, *projection)
        negative, projection = cond - away / c_out, projection._replace(average=average)
    return guide(cond, negative, guidance[0], guidance[1], push), projection


def see(network: ControlNet | T2IAdapter, hint: Tensor, seamless: str | None = None) -> Any:
    """A picture (B, H, W, C) of 0..1 -> (B, h, w, F), or several maps of a T2I-Adapter."""
    with repeating(seamless):
        return network.see(hint)


def control(
    network: ControlNet,
    state: State,
    table: Tensor,
    conditioning: Conditioning,
    hint: Tensor,
    weights: Tensor,
    before: Residuals | None,
    rows: int,
    seamless: str | None = None,
) -> Residuals:
    """Ask a ControlNet once, for the evaluation of the same state.

    Args:
        network: the ControlNet.
        state, table: as in ``evaluate``.
        conditioning: of the ControlNet's own ``prepare``; may be for the first rows alone.
        hint: of ``see``.
        weights: (S + 1,), of each skip connection and of the middle.
        before: what another ControlNet gave, to which this one's is added.
        rows: of the conditioning of the denoiser; the last of them may get nothing.
        seamless: as in ``evaluate``.
    """
    index, registers = state
    row = ops.take(table, index, axis=0)
    c_in, timestep = row[2], row[3]
    with repeating(seamless):
        maps = network.predict(registers[0] * c_in, timestep, conditioning, hint)
    found = []
    for k, y in enumerate(maps):
        silent = rows - y.shape[0]
        y = y * ops.cast(weights[k], y.dtype)
        if silent:
            y = ops.pad(y, ((0, silent), (0, 0), (0, 0), (0, 0)))
        found.append(y)
    if before is not None:
        known = [*before.skips, before.middle]
        found = [x + ops.cast(y, x.dtype) for x, y in zip(known, found, strict=True)]
    return Residuals(found[:-1], found[-1])


def encode_text(
    encoders: list[TextEncoder],
    tokens: list[Tensor],
    learned: list[LearnedRows] | None = None,
    clip_skip: int = 1,
) -> tuple[Tensor, Tensor]:
    """tokens (B, T) for each encoder -> context (B, T, C) and pooled (B, P), both float32."""
    rows = learned or [None] * len(encoders)
    outputs = [
        encoder.encode(t, clip_skip, r)
        for encoder, t, r in zip(encoders, tokens, rows, strict=True)
    ]
    context = ops.concatenate([ops.cast(c, "float32") for c, _ in outputs], axis=-1)
    return context, ops.cast(outputs[-1][1], "float32")


def look(encoder: VisionEncoder, pixels: Tensor, patches: bool) -> Tensor:
    """A picture, normalised -> what the encoder says of it, float32: see ``VisionEncoder``."""
    return ops.cast(encoder(pixels, patches=patches), "float32")


def remember(
    adapter: IPAdapter, features: Tensor, weight: Tensor, asked: int, silent: int
) -> list[Memory]:
    """The memories of a picture in each cross-attention layer, for a whole conditioning.

    Args:
        adapter: the IP-Adapter.
        features: of ``look``, (1, T, P), or (2, T, P) with those of no picture behind them.
        weight: () of the picture.
        asked: rows that remember the picture.
        silent: rows behind them that remember no picture.
    """

    def rows(x: Tensor) -> Tensor:
        return ops.concatenate([x[:1]] * asked + [x[1:]] * silent, axis=0)

    found = []
    for keys, values in adapter.remember(features):
        # Attention is linear in the values. To weigh its result, OpenVINO 2026.4 crashes.
        found.append(Memory(rows(keys), rows(values * ops.cast(weight, values.dtype))))
    return found


def prepare(
    denoiser: Denoiser, context: Tensor, pooled: Tensor | None, sizes: Tensor | None
) -> Conditioning:
    """See ``Denoiser.prepare``."""
    return denoiser.prepare(context, pooled, sizes)


def decode(decoder: Network, latents: Tensor, seamless: str | None = None) -> tuple[Tensor, Tensor]:
    """latents (B, h, w, C) -> picture (B, H, W, 3) uint8, and whether all of it was finite."""
    with repeating(seamless):
        x = ops.cast(decoder(latents), "float32")
    return to_pixels(x), ops.all(ops.isfinite(x))


def to_pixels(x: Tensor) -> Tensor:
    """-1..1 -> uint8 0..255, rounded."""
    return ops.cast(ops.round(ops.clip(x * 127.5 + 127.5, 0, 255)), "uint8")


def encode_picture(encoder: Network, pixels: Tensor, seamless: str | None = None) -> Tensor:
    """pixels (B, H, W, 3) of 0..255 -> latents (B, h, w, C) float32: the mean, scaled."""
    with repeating(seamless):
        return ops.cast(encoder(ops.cast(pixels, "float32") / 127.5 - 1), "float32")
