"""Previews of pictures that are being made: a file that is rewritten, an animation at the end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sfumato.cli.names import claim_file
from sfumato.cli.terminal import warn

if TYPE_CHECKING:
    import numpy as np

    from sfumato.generation import Step
    from sfumato.picture import Picture


class Film:
    """The previews of one batch after the other.

    Args:
        preview: the file that is rewritten after each step, if any.
        gif: the file that keeps an animation of each picture, if any.
    """

    def __init__(self, preview: Path | None, gif: Path | None) -> None:
        self.preview = preview
        self.gif = gif
        self.frames: list[np.ndarray] = []
        self.kept = 0  # pictures of the batch whose steps were shown

    def show(self, step: Step) -> None:
        """Take the preview of a step; of a batch all pictures in a row."""
        if step.step == 1:
            self.frames, self.kept = [], 0
        if not (self.preview or self.gif):
            return
        images = step.preview()  # (B, h, w, 3)
        if images is None:
            warn("these pictures have no previews")
            self.preview = self.gif = None
            return

        self.frames.append(images)
        if self.preview:
            from sfumato.pictures import save

            B, h, w, _ = images.shape
            save(self.preview, images.swapaxes(0, 1).reshape(h, B * w, 3))

    def keep(self, picture: Picture) -> None:
        """Write the animation that ends in a picture, the next one of its batch."""
        if not self.gif:
            return
        from sfumato.pictures import save_animation

        H, W = picture.pixels.shape[:2]
        images = [_enlarged(frame[self.kept], H, W) for frame in self.frames]
        self.kept += 1
        with claim_file(self.gif) as path:
            save_animation(path, [*images, picture.pixels])


def _enlarged(image: np.ndarray, H: int, W: int) -> np.ndarray:
    """(h, w, 3) -> (H, W, 3); each pixel is the nearest of the small ones."""
    import numpy as np

    h, w = image.shape[:2]
    return image[np.arange(H) * h // H][:, np.arange(W) * w // W]
