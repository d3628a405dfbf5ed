"""What a loop begins with: noise, or a picture, with a mask or without, or a smaller picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sfumato.autoencoding import decode, encode_picture
from sfumato.diffusion.interpolation import interpolated
from sfumato.diffusion.noise import latent_noise
from sfumato.diffusion.plan import Plan
from sfumato.networks.denoiser import Aids
from sfumato.parts import Parts
from sfumato.presets.upscalers import LATENTS
from sfumato.programs import Inpainting
from sfumato.request import Request, RequestError
from sfumato.request.larger import second
from sfumato.request.pictured import canvas_of
from sfumato.request.seeds import start_noise

Draw = Callable[[int], np.ndarray]
"""Draw k of every picture's own noise, float32 (B, h, w, C); 0 is the start noise."""


def drawing(parts: Parts, singles: Sequence[Request], noise: np.ndarray | None = None) -> Draw:
    """The noise of each picture; ``noise``: the start noise, in place of that of the seeds."""
    c, request = parts.model.autoencoder_config, singles[0]
    h, w = ((size or 0) // c.downsampling for size in (request.height, request.width))
    shape = (h, w, c.latent_channels)
    if noise is not None and noise.shape != (len(singles), *shape):
        must = f"have shape {shape}, or ({len(singles)}, ...) for {len(singles)} pictures"
        raise RequestError("noise", must, f"noise of shape {noise.shape}")

    def draw(k: int) -> np.ndarray:
        if k == 0 and noise is not None:
            return noise.astype("float32")
        if k == 0:
            return np.stack([start_noise(single, shape, c.downsampling) for single in singles])
        return np.stack([latent_noise(single.seed or 0, *shape, offset=k) for single in singles])

    return draw


def start(
    parts: Parts, singles: Sequence[Request], plan: Plan, draw: Draw
) -> tuple[np.ndarray, Aids, Inpainting | None]:
    """The latents (B, h, w, C) to begin with, and what is known of the picture."""
    first = singles[0]
    if first.image is None:
        return draw(0) * plan.start_scale, Aids(), None

    # Pictures of a batch that begin from the same one share its encoding.
    givens = [(id(single.image), id(single.mask)) for single in singles]
    shown = {
        key: canvas_of(s).shown() for key, s in dict(zip(givens, singles, strict=True)).items()
    }
    edges = first.seamless
    encoded = {key: encode_picture(parts, pixels, edges) for key, (pixels, _) in shown.items()}
    latents = np.stack([encoded[key] for key in givens])
    x, aids = latents + draw(0) * plan.sigma[0], Aids()
    if parts.model.edits_pictures:
        aids = Aids(channels=latents / np.float32(parts.model.shown_scale))
        if first.strength == 1:
            x = draw(0) * np.float32(plan.start_scale)
    if not first.paints_part:
        return x, aids, None

    covers = [cover for _, cover in (shown[key] for key in givens) if cover is not None]
    masks = np.stack(covers).astype("float32") / np.float32(255)
    if parts.model.sees_masks:  # its training knows no half covered pixels
        masks = np.round(masks)
    B, h, w, _ = latents.shape
    _, H, W = masks.shape
    # A latent is repainted if any of its pixels is.
    mask = masks.reshape(B, h, H // h, w, W // w).max(axis=(2, 4))[..., None]
    if first.strength == 1:  # nothing of the old picture is below the new one
        x = draw(0) * np.float32(plan.start_scale)
    if not parts.model.sees_masks:
        return x, aids, Inpainting(mask, latents)

    # The network has learned to keep what it is shown: nothing is put back between the steps.
    pixels = np.stack([shown[key][0] for key in givens])
    hidden = np.where(masks[..., None] > 0, np.float32(127.5), pixels)
    known = np.stack([encode_picture(parts, picture, edges) for picture in hidden])
    return x, Aids(channels=np.concatenate([mask, known], axis=-1)), None


def shown_to(rows: int, pictures: np.ndarray, guided: bool) -> np.ndarray:
    """Latents of pictures (B, h, w, C) for all rows of a model that edits; of guidance the last
    ones are shown none: -> (rows, h, w, C)."""
    times = rows // len(pictures)
    none = [np.zeros_like(pictures)] if guided else []
    return np.concatenate([pictures] * (times - len(none)) + none)


def enlarge(
    parts: Parts, singles: Sequence[Request], latents: np.ndarray
) -> tuple[list[Request], np.ndarray | None]:
    """The requests of the second pass: with the enlarged pictures, or enlarged latents for them."""
    from sfumato.upscaling import enlarged

    first, grain = singles[0], parts.model.autoencoder_config.downsampling
    later = second(first, grain)
    assert later.height
    assert later.width
    if mode := LATENTS.get(upscaler := first.upscaler or ""):
        size = later.height // grain, later.width // grain
        return [second(s, grain) for s in singles], interpolated(latents, size, mode)
    size = later.height, later.width
    pictures = (decode(parts, x, first.seamless) for x in latents)
    images = [enlarged(pixels, size, upscaler) for pixels in pictures]
    return [second(s, grain, x) for s, x in zip(singles, images, strict=True)], None
