"""Plots of pictures, where users of KerasCV look for them: `from sfumato import visualization`."""

from __future__ import annotations

from sfumato.pictures.gallery import plot_gallery, plot_image_gallery

__all__ = ["plot_gallery", "plot_image_gallery"]
