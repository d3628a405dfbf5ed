from __future__ import annotations

import inspect
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from sfumato import visualization
from sfumato.pictures import plot_gallery, plot_image_gallery


@pytest.fixture(autouse=True)
def agg():
    """No window is ever opened."""
    mpl.use("Agg")


@pytest.fixture
def images():
    images = np.zeros((5, 8, 8, 3), np.uint8)
    images[:, ..., 1] = np.array([0, 50, 100, 150, 200])[:, None, None]
    return images


def shown(figure) -> list[np.ndarray]:
    return [np.asarray(axis.images[0].get_array()) for axis in figure.axes if axis.images]


@pytest.mark.parametrize(
    ("rows", "cols", "grid", "plotted"),
    [
        (None, None, (2, 3), 5),
        (1, None, (1, 5), 5),
        (None, 1, (5, 1), 5),
        (1, 3, (1, 3), 3),
        (3, 3, (3, 3), 5),
    ],
)
def test_grid(images, rows, cols, grid, plotted):
    figure = plot_gallery(images, rows=rows, cols=cols, scale=2, show=False)
    assert figure.axes[0].get_gridspec().get_geometry() == grid
    assert figure.get_size_inches().tolist() == [2 * grid[1], 2 * grid[0]]
    assert len(shown(figure)) == plotted
    for plot, image in zip(shown(figure), images, strict=False):
        np.testing.assert_array_equal(plot, image)


def test_pictures_divided_by_255_are_not_shown_as_black(images):
    with pytest.raises(ValueError, match=r"`value_range` must .*=\(0, 255\) for floats of 0..1"):
        plot_gallery(images / 255, show=False)
    plot_gallery(0 * images.astype(float), show=False)
    for wrong in (0, 1.5, "2"):
        with pytest.raises(ValueError, match="`rows` must be a whole number from 1. .* rows="):
            plot_gallery(images, rows=wrong, show=False)


@pytest.mark.parametrize(
    ("value_range", "scale", "offset"),
    [((0, 255), 1, 0), ((0, 1), 1 / 255, 0), ((-1, 1), 2 / 255, -1)],
)
def test_value_range(images, value_range, scale, offset):
    floats = images.astype(np.float32) * scale + offset
    for plot, image in zip(
        shown(plot_gallery(floats, value_range, show=False)), images, strict=True
    ):
        np.testing.assert_array_equal(plot, image)


def test_grey_pictures_lists_and_tensors(images):
    import torch

    for grey in (images[..., 1], images[..., 1:2]):
        assert shown(plot_gallery(grey, show=False))[1].shape == (8, 8)
    sizes = [images[0], np.zeros((4, 16, 3), np.uint8)]
    assert [plot.shape for plot in shown(plot_gallery(sizes, show=False))] == [
        (8, 8, 3),
        (4, 16, 3),
    ]
    tensor = torch.from_numpy(images).requires_grad_(False)
    assert len(shown(plot_gallery(tensor, show=False))) == 5


def test_file(tmp_path, images):
    path = tmp_path / "gallery.png"
    figure = plot_gallery(images[3:4], path=path, scale=2, dpi=50, transparent=False)
    assert figure is not None  # a file was asked for, so nothing is shown
    with Image.open(path) as picture:
        assert np.asarray(picture.convert("RGB"))[40, 40].tolist() == [0, 150, 0]


def test_show_without_a_screen_is_silent(images):
    import matplotlib.pyplot as plt

    assert plot_gallery(images, rows=1, cols=3, scale=4, value_range=(0, 255), show=True) is None
    assert plot_gallery(images) is None
    assert plt.get_fignums() == []  # no figure is left open


def test_titles_and_legend(images):
    from matplotlib.patches import Patch

    figure = plot_gallery(
        images[:2], titles=["one", "two"], legend_handles=[Patch(label="it")], show=False
    )
    assert [axis.get_title() for axis in figure.axes] == ["one", "two"]
    assert figure.legends[0].get_texts()[0].get_text() == "it"


def test_wrong_pictures_are_refused(images):
    with pytest.raises(ValueError, match="`images` must hold at least one picture"):
        plot_gallery([])
    with pytest.raises(ValueError, match=r"Received: one picture, \(8, 8, 3\)"):
        plot_gallery(images[0])
    with pytest.raises(ValueError, match=r"Received: one of shape \(8, 8, 4\)"):
        plot_gallery(np.zeros((1, 8, 8, 4)))
    with pytest.raises(ValueError, match="`titles` must name every picture"):
        plot_gallery(images, titles=["one"])
    with pytest.raises(ValueError, match="`value_range` must be two values"):
        plot_gallery(images, value_range=(1, 1))


def test_the_function_of_kerascv_keeps_its_order_of_arguments(images):
    assert list(inspect.signature(plot_image_gallery).parameters) == [
        *("images", "value_range", "scale", "rows", "cols", "path", "show"),
        *("transparent", "dpi", "legend_handles"),
    ]
    figure = plot_image_gallery(images, (0, 255), 3, 5, 1, show=False)
    assert figure.get_size_inches().tolist() == [3, 15]
    assert visualization.plot_gallery is plot_gallery
    assert visualization.plot_image_gallery is plot_image_gallery


def test_importing_loads_no_matplotlib():
    code = "import sfumato.visualization, sys; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
