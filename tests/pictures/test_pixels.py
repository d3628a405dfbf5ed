"""Pictures and masks in any form: the same pixels, or a reason why not."""

from __future__ import annotations

import base64
import io

import keras
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from sfumato.pictures import load
from sfumato.pictures.files import encode, named
from sfumato.pictures.pixels import as_image, as_mask, digest, from_data_url, to_data_url

RGB = np.random.default_rng(0).integers(0, 256, (9, 14, 3), np.uint8)
GREY = np.random.default_rng(1).integers(0, 256, (9, 14), np.uint8)


def as_file(picture: Image.Image, file_format: str = "PNG", **options) -> io.BytesIO:
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    file.seek(0)
    return file


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1", "CMYK", "I;16", "YCbCr"])
def test_a_picture_of_pillow_is_what_its_file_is(mode, tmp_path):
    if mode == "I;16":
        picture = Image.fromarray(GREY.astype(np.uint16) * 257)
    else:
        picture = Image.fromarray(RGB).convert(mode)
    if mode in ("LA", "RGBA"):
        picture.putalpha(Image.fromarray(GREY))
    kind = {"CMYK": "JPEG", "YCbCr": "JPEG"}.get(mode, "PNG")
    file = as_file(picture, kind)
    path = tmp_path / "a.file"
    path.write_bytes(file.getvalue())
    expected = load(path)
    assert expected.shape == RGB.shape
    np.testing.assert_array_equal(as_image(Image.open(file)), expected)
    np.testing.assert_array_equal(as_image(path), expected)
    if kind == "PNG":  # JPEG is not exact
        np.testing.assert_array_equal(as_image(picture), expected)
    if mode == "I;16":
        np.testing.assert_array_equal(expected[..., 0], GREY)


def test_a_picture_of_pillow_stands_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    turned = Image.open(as_file(Image.fromarray(RGB), exif=exif))
    np.testing.assert_array_equal(as_image(turned), np.rot90(RGB, -1))
    grey = Image.open(as_file(Image.fromarray(GREY), exif=exif))
    np.testing.assert_array_equal(as_mask(grey), np.rot90(GREY, -1))


def test_arrays_of_any_channels():
    grey = np.repeat(GREY[..., None], 3, axis=-1)
    for form in (GREY, GREY[..., None], GREY.astype("float64"), GREY.astype("int64")):
        np.testing.assert_array_equal(as_image(form), grey)
    clear = np.concatenate([RGB, np.full((9, 14, 1), 255, np.uint8)], axis=-1)
    np.testing.assert_array_equal(as_image(clear), RGB)
    clear[..., 3] = 0
    assert (as_image(clear) == 255).all()  # on white
    np.testing.assert_array_equal(as_image(RGB[:, ::-1]), RGB[:, ::-1])  # a view


@pytest.mark.parametrize("dtype", ["uint8", "float32", "int32", "bfloat16"])
def test_tensors(dtype):
    trained = torch.from_numpy(RGB.copy()).to(getattr(torch, dtype))
    if trained.is_floating_point():
        trained.requires_grad_()
    expected = trained.detach().float().numpy().astype("uint8")  # bfloat16 has 8 bits
    np.testing.assert_array_equal(as_image(trained), expected)
    np.testing.assert_array_equal(as_image(keras.ops.convert_to_tensor(RGB, dtype)), expected)
    np.testing.assert_array_equal(as_mask(torch.from_numpy(GREY.copy())), GREY)
    half = torch.from_numpy((GREY > 127).astype("float32"))
    np.testing.assert_array_equal(as_mask(half.bfloat16()), 255 * (GREY > 127))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (RGB.transpose(2, 0, 1), r"\(3, 9, 14\) is not \(H, W, 3\): move its first axis"),
        (RGB[None], r"\(1, 9, 14, 3\) is not \(H, W, 3\): move"),
        (RGB[..., :2], r"\(9, 14, 2\) is not \(H, W, 3\)$"),
        (RGB / 255, "multiply it by 255"),
        (GREY / 255, "multiply it by 255"),
        (torch.from_numpy(RGB / 255), "multiply it by 255"),
        (RGB.astype("uint16") * 257, "are not in 0..255"),
        (Image.fromarray(GREY / np.float32(255)), "make an array of them"),
        (Image.fromarray(GREY.astype("int32") - 300), "are not in 0..65535"),
        (Image.new("RGB", (0, 5)), "it has no pixels"),
        (np.zeros((0, 5, 3)), "is not"),
        (object(), "is not a number"),
    ],
)
def test_what_is_no_picture(value, reason):
    with pytest.raises(ValueError, match=reason):
        as_image(value)


def test_a_picture_that_is_too_large_is_not_decoded():
    """Pillow's pictures are decoded when they are first touched; this one would be damaged."""
    whole = as_file(Image.new("1", (9_000, 9_000))).getvalue()
    picture = Image.open(io.BytesIO(whole[: len(whole) // 2]))
    for take in (as_image, as_mask):
        with pytest.raises(ValueError, match="9000x9000 has more than 67108864 pixels"):
            take(picture)


def test_a_damaged_picture_of_pillow():
    whole = as_file(Image.fromarray(RGB)).getvalue()
    with pytest.raises(ValueError, match="it is damaged"):
        as_image(Image.open(io.BytesIO(whole[: len(whole) // 2])))


def test_a_mask_says_black_or_white():
    clear = Image.fromarray(RGB).convert("RGBA")
    assert as_mask(clear).shape == GREY.shape
    clear.putalpha(Image.fromarray(GREY))
    for form in (clear, Image.open(as_file(clear))):
        with pytest.raises(ValueError, match="transparent, which says neither black nor white"):
            as_mask(form)
    wide = Image.fromarray(GREY.astype(np.uint16) * 257)
    np.testing.assert_array_equal(as_mask(wide), GREY)
    np.testing.assert_array_equal(as_mask(Image.fromarray(GREY > 99)), 255 * (GREY > 99))


@given(st.binary(max_size=300) | st.binary(max_size=60).map(lambda end: encode(RGB)[:-70] + end))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_a_picture_or_a_value_error(content):
    url = "data:image/png;base64," + base64.b64encode(content).decode()
    for is_mask in (False, True):
        try:
            found = from_data_url(url, is_mask)
        except ValueError:
            continue
        assert found.dtype == np.uint8


def test_data_urls():
    np.testing.assert_array_equal(from_data_url(to_data_url(RGB)), RGB)
    np.testing.assert_array_equal(from_data_url(to_data_url(GREY), True), GREY)


@pytest.mark.skipif(not features.check("avif"), reason="Pillow here has no AVIF")
def test_avif(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.avif", quality=100, subsampling="4:4:4")
    assert np.abs(load(tmp_path / "a.avif").astype(int) - RGB).mean() < 3


def test_the_pictures_that_a_path_names(tmp_path):
    for name in ("b.png", "a.JPG", "c.webp"):
        Image.fromarray(RGB).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not one of them")
    (tmp_path / "folder").mkdir()
    assert [file.name for file in named(tmp_path)] == ["a.JPG", "b.png", "c.webp"]
    assert named(tmp_path / "b.png") == [tmp_path / "b.png"]
    with pytest.raises(ValueError, match="must have pictures in it"):
        named(tmp_path / "folder")
    with pytest.raises(FileNotFoundError):
        named(tmp_path / "none.png")
    (tmp_path / "d.png").write_text("none")
    with pytest.raises(ValueError, match=r"must be a PNG.*d\.png"):
        named(tmp_path)


def test_a_digest_is_of_the_pixels():
    assert digest(RGB) == digest(RGB[:, ::-1][:, ::-1])
    others = [RGB[::-1], RGB.reshape(14, 9, 3), RGB[:-1], RGB ^ np.uint8(1)]
    assert len({digest(pixels) for pixels in (RGB, *others)}) == 5
    assert len(digest(RGB)) == 16
