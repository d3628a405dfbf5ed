"""Judge the bundled upscaler: pictures made smaller and enlarged again, next to what they were.

    python -m recipes.esrgan.judge

Photographs are those that scikit-image ships; the drawings are `docs/images/mini.png`. Prints PSNR
in decibels, without the outermost pixels, and SSIM.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import skimage
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import sfumato

UPSCALERS = ("bicubic", "lanczos", "esrgan")
SIDE = 512
ROOT = Path(__file__).parents[2]


def pictures() -> dict[str, list[np.ndarray]]:
    """Pictures of at most 512 pixels a side, a multiple of 4."""
    folder = Path(skimage.__file__).parent / "data"
    names = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")
    kinds = {
        "photographs": [folder / name for name in names],
        "drawings": [ROOT / "docs" / "images" / "mini.png"],
    }
    return {kind: [cut(Image.open(file)) for file in files] for kind, files in kinds.items()}


def cut(picture: Image.Image) -> np.ndarray:
    """The middle of a picture."""
    pixels = np.array(picture.convert("RGB"))
    top, left = (max(side - SIDE, 0) // 2 for side in pixels.shape[:2])
    pixels = pixels[top : top + SIDE, left : left + SIDE]
    H, W, _ = pixels.shape
    return pixels[: H // 4 * 4, : W // 4 * 4]


def judge(large: np.ndarray, scale: int, upscaler: str) -> tuple[float, float]:
    """PSNR and SSIM of one picture."""
    H, W, _ = large.shape
    reduced = Image.fromarray(large).resize((W // scale, H // scale), Image.Resampling.BICUBIC)
    inner = (slice(scale, -scale), slice(scale, -scale))
    found = sfumato.upscale(reduced, scale, upscaler)[inner]
    likeness = structural_similarity(large[inner], found, channel_axis=-1)
    return peak_signal_noise_ratio(large[inner], found), float(likeness)


if __name__ == "__main__":
    for kind, chosen in pictures().items():
        for scale in (2, 4):
            for upscaler in UPSCALERS:
                figures = np.mean([judge(large, scale, upscaler) for large in chosen], axis=0)
                print(f"{kind} {scale}x {upscaler}: {figures[0]:.2f} dB, {figures[1]:.3f}")
