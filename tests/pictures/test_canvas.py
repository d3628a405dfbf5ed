"""The canvas: what is shown to the network, and what comes back; judged by diffusers and laws."""

from __future__ import annotations

import numpy as np
import pytest
from diffusers.image_processor import VaeImageProcessor
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sfumato.pictures.canvas import RESIZES, make_canvas, masked_region, resized, unfilled

THEIRS = VaeImageProcessor()
SIDES = st.integers(1, 70)
SIZES = st.tuples(SIDES, SIDES)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A picture of rough detail."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def box(shape: tuple[int, int], top: int, bottom: int, left: int, right: int) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[top:bottom, left:right] = 255
    return mask


@given(source=SIZES, target=SIZES)
@settings(max_examples=60, deadline=None)
def test_stretching_is_that_of_diffusers(source, target):
    picture = noise(*source)
    theirs = THEIRS.resize(Image.fromarray(picture), *target, resize_mode="default")
    np.testing.assert_array_equal(resized(picture, target, "stretch"), np.array(theirs))


@given(source=SIZES, target=SIZES)
@settings(max_examples=60, deadline=None)
def test_filling_is_that_of_diffusers(source, target):
    """Theirs mixes two rows for the edge, and ours draws out the last one."""
    (H, W), (h, w) = source, target
    sh, sw = (H * w // W, w) if h * W > w * H else (h, W * h // H)
    if not (sh and sw):  # theirs makes no picture of that
        return
    picture = noise(H, W)
    theirs = np.array(THEIRS.resize(Image.fromarray(picture), h, w, resize_mode="fill"))
    ours = resized(picture, target, "fill")
    top, left = h // 2 - sh // 2, w // 2 - sw // 2
    inner = (slice(top, top + sh), slice(left, left + sw))
    np.testing.assert_array_equal(ours[inner], theirs[inner])
    edges = ((top, h - sh - top), (left, w - sw - left), (0, 0))
    np.testing.assert_array_equal(ours, np.pad(ours[inner], edges, "edge"))


@pytest.mark.parametrize("target", [(64, 64), (64, 24), (24, 64), (200, 120)])
@pytest.mark.parametrize("source", [(96, 64), (64, 96), (50, 50)])
def test_cropping_is_that_of_diffusers_within_the_edges(source, target):
    """Ours does not see what it cuts off, so a few pixels at the edge differ.

    Its first pixel may lie between two, so the weights of the others are rounded differently.
    """
    picture = np.array(Image.fromarray(noise(*source)).resize(source[::-1], 2, (9, 9, 30, 30)))
    theirs = np.array(THEIRS.resize(Image.fromarray(picture), *target, resize_mode="crop"))
    ours = resized(picture, target, "crop")
    edge = 3 * max(1, round(max(target[0] / source[0], target[1] / source[1])))
    inner = (slice(edge, -edge), slice(edge, -edge))
    assert np.abs(ours[inner].astype(int) - theirs[inner]).max() <= 2
    assert ours.shape == theirs.shape


@given(source=SIZES, target=SIZES, mode=st.sampled_from(RESIZES), shade=st.integers(0, 255))
@settings(max_examples=60, deadline=None)
def test_any_size_becomes_any_other(source, target, mode, shade):
    for shape in (source, (*source, 3)):
        flat = resized(np.full(shape, shade, np.uint8), target, mode)
        assert flat.shape == (*target, *shape[2:])
        assert flat.dtype == np.uint8
        assert (flat == shade).all()
    picture = noise(*source)
    assert resized(picture, source, mode) is picture


def test_thin_pictures_do_not_become_huge():
    assert resized(noise(1, 50_000), (512, 512), "crop").shape == (512, 512, 3)
    assert resized(noise(1, 50_000), (512, 512), "fill").shape == (512, 512, 3)
    assert resized(noise(1, 1), (64, 64), "crop").shape == (64, 64, 3)


def test_proportions():
    """A circle stays one unless it is stretched."""
    y, x = np.mgrid[0:60, 0:120]
    disc = np.where((y - 29.5) ** 2 + (x - 59.5) ** 2 < 20**2, 255, 0).astype(np.uint8)
    for mode, diameters in (("crop", (40, 40)), ("fill", (20, 20)), ("stretch", (40, 20))):
        found = resized(disc, (60, 60), mode) > 127
        assert abs(found.any(1).sum() - diameters[0]) <= 1, mode
        assert abs(found.any(0).sum() - diameters[1]) <= 1, mode


@given(source=st.tuples(st.integers(8, 70), st.integers(8, 70)), scale=st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_filling_can_be_undone(source, scale):
    y, x = np.mgrid[0 : source[0], 0 : source[1]]
    smooth = np.stack([y, x, x + y], axis=-1).astype(np.uint8)
    there = resized(smooth, (scale * 70, scale * 80), "fill")
    again = unfilled(there, source)
    assert again.shape == smooth.shape
    assert np.abs(again.astype(int) - smooth).max() <= 3


# --- the masked area -----------------------------------------------------------------------------


@given(shape=SIZES, size=SIZES, corners=st.lists(st.integers(0, 69), min_size=4, max_size=4))
@settings(max_examples=200, deadline=None)
def test_the_masked_region(shape, size, corners):
    (H, W), (h, w) = shape, size
    a, b = sorted(n % H for n in corners[:2])
    c, d = sorted(n % W for n in corners[2:])
    padding = corners[0] % 9
    mask = box(shape, a, b + 1, c, d + 1)
    rows, columns = masked_region(mask, size, padding)
    assert 0 <= rows.start < rows.stop <= H
    assert 0 <= columns.start < columns.stop <= W
    assert rows.start <= max(a - padding, 0)
    assert rows.stop >= min(b + 1 + padding, H)
    assert columns.start <= max(c - padding, 0)
    assert columns.stop >= min(d + 1 + padding, W)

    # diffusers divides floats where we divide integers: a pixel may be lost to rounding
    theirs = THEIRS.get_crop_region(Image.fromarray(mask), w, h, padding)
    ours = (columns.start, rows.start, columns.stop, rows.stop)
    assert np.abs(np.subtract(ours, theirs)).max() <= 1


def test_a_black_mask_has_no_region():
    rows, columns = masked_region(np.zeros((20, 30), np.uint8), (8, 8), 4)
    assert (rows, columns) == (slice(None), slice(None))


@given(seed=st.integers(0, 99), padding=st.integers(0, 20), blur=st.sampled_from([0, 1.5, 6]))
@settings(max_examples=40, deadline=None)
def test_what_no_mask_covers_is_the_given_picture(seed, padding, blur):
    rng = np.random.default_rng(seed)
    H, W = rng.integers(20, 90, 2)
    top, left = rng.integers(0, H - 5), rng.integers(0, W - 5)
    mask = box((H, W), top, top + 5, left, left + 5)
    picture = noise(H, W, seed)
    for own in (None, padding):
        size = (H, W) if own is None else (64, 48)
        canvas = make_canvas(picture, mask, size, mask_blur=blur, padding=own)
        shown, shown_mask = canvas.shown()
        assert shown.shape == (*size, 3)
        assert shown_mask is not None
        assert shown_mask.shape == size
        finished = canvas.finished(np.full((*size, 3), 77, np.uint8))
        assert finished.shape == picture.shape
        assert canvas.mask is not None
        np.testing.assert_array_equal(finished[canvas.mask == 0], picture[canvas.mask == 0])
        assert (finished[canvas.mask == 255] == 77).all()
        assert not blur or (canvas.mask[mask == 255] > 0).all()


@pytest.mark.parametrize("blur", [1, 4, 9.5])
def test_blur_is_that_of_diffusers(blur):
    mask = box((60, 80), 20, 40, 0, 30)
    canvas = make_canvas(noise(60, 80), mask, (60, 80), mask_blur=blur)
    expected = np.array(THEIRS.blur(Image.fromarray(mask), blur))
    np.testing.assert_array_equal(canvas.mask, expected)
    assert len(np.unique(expected)) > 3


def test_the_masked_part_is_shown_at_the_full_size():
    """A region of the size's proportions is enlarged to it, and nothing else is shown."""
    picture = noise(100, 100)
    mask = box((100, 100), 40, 56, 40, 56)
    canvas = make_canvas(picture, mask, (64, 64), padding=8)
    assert canvas.region == (slice(32, 64), slice(32, 64))
    shown, _ = canvas.shown()
    part = Image.fromarray(picture[32:64, 32:64])
    np.testing.assert_array_equal(shown, np.array(part.resize((64, 64), Image.Resampling.LANCZOS)))


# --- what is added -------------------------------------------------------------------------------


@given(
    sides=st.dictionaries(st.sampled_from(["left", "right", "top", "bottom"]), st.integers(0, 20)),
    blur=st.sampled_from([0, 3]),
    masked=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_extended(sides, blur, masked):
    sides = {side: n for side, n in sides.items() if n} or {"left": 7}
    picture = noise(30, 40)
    mask = box((30, 40), 5, 9, 6, 12) if masked else None
    top, left = sides.get("top", 0), sides.get("left", 0)
    size = (30 + top + sides.get("bottom", 0), 40 + left + sides.get("right", 0))
    canvas = make_canvas(picture, mask, size, extend=sides, mask_blur=blur)
    within = (slice(top, top + 30), slice(left, left + 40))
    assert canvas.mask is not None
    outside = np.ones(size, bool)
    outside[within] = False
    assert (canvas.mask[outside] == 255).all()  # none of it is a picture yet
    np.testing.assert_array_equal(canvas.pixels[within], picture)
    if not blur:
        inner = np.zeros((30, 40)) if mask is None else mask
        np.testing.assert_array_equal(canvas.mask[within], inner)
    finished = canvas.finished(np.full((*size, 3), 9, np.uint8))
    assert (finished[outside] == 9).all()
    kept = canvas.mask[within] == 0
    assert kept.any()
    np.testing.assert_array_equal(finished[within][kept], picture[kept])


def test_extended_and_resized():
    """The picture is brought to what the added sides leave of the size."""
    picture = noise(30, 30)
    canvas = make_canvas(picture, None, (40, 64), resize="stretch", extend={"left": 24})
    assert canvas.pixels.shape == (40, 64, 3)
    np.testing.assert_array_equal(canvas.pixels[:, 24:], resized(picture, (40, 40), "stretch"))
    assert (canvas.pixels[:, :24] == canvas.pixels[:, 24:25]).all()  # its edge, drawn out


def test_a_mask_is_resized_with_its_picture_and_makes_no_waves():
    mask = box((50, 70), 10, 30, 20, 50)
    picture = np.repeat(mask[..., None], 3, axis=-1)
    for mode in RESIZES:
        canvas = make_canvas(picture, mask, (96, 96), resize=mode)
        assert canvas.mask is not None
        assert np.abs(canvas.mask.astype(int) - canvas.pixels[..., 0]).mean() < 6, mode
        far = canvas.pixels[..., 0] == 0
        assert canvas.mask[far].max() < 64  # beyond the edge there is nothing
