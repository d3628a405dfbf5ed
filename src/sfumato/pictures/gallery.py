"""Galleries: pictures side by side, by matplotlib."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sfumato._numbers import whole_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_gallery(
    images: Iterable[Any],
    value_range: tuple[float, float] = (0, 255),
    rows: int | None = None,
    cols: int | None = None,
    scale: float = 2,
    path: str | Path | None = None,
    show: bool | None = None,
    transparent: bool = True,
    dpi: int = 60,
    legend_handles: Sequence[Any] | None = None,
    titles: Sequence[str] | None = None,
) -> Figure | None:
    """Show pictures in rows and columns, or write them to a file.

    Args:
        images: (N, H, W, 3), (N, H, W, 1) or (N, H, W), an array of any backend, or a list of
            such pictures or of `Picture`, which may differ in size.
        value_range: the values of black and white: (0, 1) for pictures that were divided by 255.
        rows, cols: shape of the grid; by default as square as possible. If both are given,
            pictures that do not fit are left out.
        scale: height and width of a picture in the plot, in inches.
        path: file to write.
        show: whether to show the plot; by default, if there is no `path`. Without a window or a
            notebook to show it in, nothing happens.
        transparent: whether the file's background is transparent.
        dpi: pixels per inch of the file.
        legend_handles: handles of a legend, if there is to be one.
        titles: a line above each picture.

    Returns:
        The figure if it was not shown, so that it can be changed.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there is no picture, one has another shape, there are fewer `titles` than
            pictures, the two values of `value_range` are the same, or they are (0, 255) and a
            picture's are floats of 0..1.

    Example:
        >>> import numpy as np
        >>> images = np.zeros((3, 64, 64, 3), "uint8")
        >>> figure = plot_gallery(images, rows=1, cols=3, scale=4, show=False)
        >>> len(figure.axes)
        3
    """
    pictures = _pictures(images, value_range, titles)
    rows, cols = _grid(len(pictures), rows, cols)
    show = path is None if show is None else show
    figure = _figure((cols * scale, rows * scale), show)
    # `squeeze=False`: a grid of one row is a grid, too
    axes = figure.subplots(rows, cols, squeeze=False, gridspec_kw={"wspace": 0.05, "hspace": 0.05})
    for i, axis in enumerate(axes.flat):
        axis.axis("off")
        if i < len(pictures):
            axis.imshow(pictures[i], cmap="gray", vmin=0, vmax=255)
            if titles is not None:
                axis.set_title(titles[i])
    if legend_handles is not None:
        figure.legend(handles=list(legend_handles), loc="lower center")

    if path is not None:
        background = {"transparent": transparent, "dpi": dpi, "bbox_inches": "tight"}
        figure.savefig(path, pad_inches=0, **background)
    if not show:
        return figure
    _show(figure)
    return None


def _pictures(
    images: Iterable[Any], value_range: tuple[float, float], titles: Sequence[str] | None
) -> list[np.ndarray]:
    """The arguments of `plot_gallery`, checked: pictures as uint8."""
    low, high = value_range
    if low == high:
        raise ValueError(f"`value_range` must be two values. Received: value_range={value_range}")
    shape = getattr(images, "shape", ())
    if len(shape) == 3 and shape[-1] == 3:
        raise ValueError(f"`images` must be (N, H, W, 3). Received: one picture, {tuple(shape)}")

    pictures = [_picture(image, value_range) for image in images]
    if not pictures:
        raise ValueError("`images` must hold at least one picture. Received: none")
    if titles is not None and len(titles) < len(pictures):
        received = f"{len(titles)} titles, {len(pictures)} pictures"
        raise ValueError(f"`titles` must name every picture. Received: {received}")
    return pictures


def plot_image_gallery(
    images: Iterable[Any],
    value_range: tuple[float, float] = (0, 255),
    scale: float = 2,
    rows: int | None = None,
    cols: int | None = None,
    path: str | Path | None = None,
    show: bool | None = None,
    transparent: bool = True,
    dpi: int = 60,
    legend_handles: Sequence[Any] | None = None,
) -> Figure | None:
    """`plot_gallery` with its arguments in the order of KerasCV's function of this name."""
    return plot_gallery(
        images, value_range, rows, cols, scale, path, show, transparent, dpi, legend_handles
    )


def _picture(image: Any, value_range: tuple[float, float]) -> np.ndarray:
    """uint8 (H, W, 3) or (H, W)."""
    if hasattr(image, "detach"):  # a PyTorch tensor, maybe on an accelerator
        image = image.detach().cpu()
    image = np.asarray(getattr(image, "pixels", image))
    if image.ndim == 3 and image.shape[-1] == 1:
        image = image[..., 0]
    if image.ndim != 2 and (image.ndim != 3 or image.shape[-1] != 3):
        raise ValueError(f"`images` must be (N, H, W, 3). Received: one of shape {image.shape}")
    low, high = value_range
    if image.dtype == np.uint8 and (low, high) == (0, 255):
        return image
    if high == 255 and image.dtype.kind == "f" and 0 < image.max() <= 1:
        received = f"value_range={value_range} for floats of 0..1"
        raise ValueError(f"`value_range` must be that of the pictures. Received: {received}")
    unit = (image.astype(np.float32) - low) / (high - low)
    return np.rint(255 * unit.clip(0, 1)).astype(np.uint8)


def _grid(count: int, rows: int | None, cols: int | None) -> tuple[int, int]:
    rows, cols = (
        side if side is None else whole_number(name, side, 1)
        for name, side in (("rows", rows), ("cols", cols))
    )
    if rows is None:
        rows = math.ceil(count / (cols or math.ceil(math.sqrt(count))))
    return rows, math.ceil(count / rows) if cols is None else cols


def _figure(size: tuple[float, float], show: bool) -> Figure:
    if show:
        import matplotlib.pyplot as plt

        return plt.figure(figsize=size)
    from matplotlib.figure import Figure  # without pyplot: no global state, nothing to close

    return Figure(figsize=size)


def _show(figure: Figure) -> None:
    import matplotlib.pyplot as plt
    from matplotlib.backends.registry import BackendFilter, backend_registry

    silent = backend_registry.list_builtin(BackendFilter.NON_INTERACTIVE)
    if plt.get_backend().lower() not in silent:
        plt.show()
    plt.close(figure)
