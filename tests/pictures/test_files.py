"""Picture files: what is in them, who can read them, and that none is ever half written."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sfumato.pictures import (
    Recipe,
    encode,
    load,
    load_recipe,
    read_text,
    save,
    save_animation,
    write_text,
)

SUFFIXES = [".png", ".jpg", ".jpeg", ".webp", ".PNG"]
RECIPE = Recipe(
    "a red apple, 猫 🐴\nNegative prompt: forged",
    "blurry",
    {"Steps": "25", "Sampler": "DPM++ 2M", "CFG scale": "7.5", "Seed": "7", "Size": "24x16"},
)
THREE = {"Steps": "1", "CFG scale": "3", "Seed": "2"}  # fewer items would be part of the prompt


@pytest.fixture
def image():
    """A smooth picture, so that JPEG and WebP keep it nearly as it is."""
    y, x = np.mgrid[0:16, 0:24]
    return np.stack([10 * x, 15 * y, 5 * (x + y)], axis=-1).astype(np.uint8)  # (16, 24, 3)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_picture_and_recipe_come_back(tmp_path, image, suffix):
    path = tmp_path / "new" / "folder" / f"apple{suffix}"
    assert save(path, image, RECIPE) == path
    assert load_recipe(path) == RECIPE
    assert path.read_bytes() == encode(image, suffix[1:], RECIPE)
    difference = np.abs(load(path).astype(int) - image)
    assert difference.max() == 0 if suffix.lower() == ".png" else difference.mean() < 4
    save(path, image)
    assert load_recipe(path) is None
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("suffix", ["png", "jpeg", "webp"])
def test_without_a_recipe_there_is_no_metadata(image, suffix):
    with Image.open(io.BytesIO(encode(image, suffix))) as picture:
        assert not picture.getexif()
        assert not set(picture.info) & {"parameters", "exif", "comment", "Software", "xmp"}


def chunks(png: bytes) -> dict[bytes, bytes]:
    found, at = {}, 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        found[png[at + 4 : at + 8]] = png[at + 8 : at + 8 + length]
        at += 12 + length
    return found


def test_png_text_chunk(image):
    plain = Recipe("a café", items=THREE)
    latin = chunks(encode(image, recipe=plain))[b"tEXt"]
    assert latin == b"parameters\0a caf\xe9\nSteps: 1, CFG scale: 3, Seed: 2"
    other = chunks(encode(image, recipe=Recipe("猫", items=THREE)))[b"iTXt"]
    assert other == b"parameters\0\0\0\0\0" + "猫\nSteps: 1, CFG scale: 3, Seed: 2".encode()


@pytest.mark.parametrize("suffix", ["jpeg", "webp"])
def test_exif_comment_is_what_other_programs_look_for(image, suffix):
    with Image.open(io.BytesIO(encode(image, suffix, RECIPE))) as picture:
        comment = picture.getexif().get_ifd(0x8769)[0x9286]
    assert comment == b"UNICODE\0" + write_text(RECIPE).encode("utf-16-be")


def test_a_text_behind_the_pixels_is_found(tmp_path, image):
    png = encode(image)
    text = chunk(b"tEXt", b"parameters\0a cat\nSteps: 1, CFG scale: 3, Seed: 2")
    path = tmp_path / "a.png"
    path.write_bytes(png[:-12] + text + png[-12:])  # before IEND
    assert load_recipe(path) == Recipe("a cat", items=THREE)


def with_comment(path, comment, software=None):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = comment
    if software:
        exif[0x0131] = software
    Image.new("RGB", (8, 8)).save(path, exif=exif)
    return path


def test_comments_of_other_programs(tmp_path):
    text = "a cat 一\nSteps: 1, Seed: 2, CFG scale: 3"
    expected = Recipe("a cat 一", items=THREE)
    for number, comment in enumerate(
        [
            b"UNICODE\0" + text.encode("utf-16-be"),
            b"UNICODE\0" + text.encode("utf-16-le"),
            b"\0" * 8 + text.encode(),
        ]
    ):
        assert load_recipe(with_comment(tmp_path / f"{number}.jpg", comment)) == expected
    assert load_recipe(with_comment(tmp_path / "ascii.jpg", b"ASCII\0\0\0a cat")) == Recipe("a cat")
    assert load_recipe(with_comment(tmp_path / "empty.jpg", b"ASCII\0\0\0")) is None
    assert load_recipe(with_comment(tmp_path / "blank.jpg", b"\0" * 20)) is None


@given(st.text(max_size=60) | st.text(st.sampled_from("䄀 猫\n\0一"), max_size=8))
@settings(max_examples=30, deadline=None)
def test_any_prompt_comes_back_from_every_format(tmp_path_factory, prompt):
    folder = tmp_path_factory.mktemp("any", numbered=True)
    for suffix in ("png", "jpg", "webp"):
        for recipe in (Recipe(prompt), Recipe("", prompt, THREE)):
            path = save(folder / f"a.{suffix}", np.zeros((8, 8, 3), np.uint8), recipe)
            assert load_recipe(path) == recipe


def test_a_recipe_too_long_for_jpeg_is_left_out_with_a_warning(tmp_path, image):
    with pytest.warns(UserWarning, match="The recipe was left out: a JPEG holds 65533 bytes"):
        path = save(tmp_path / "a.jpg", image, Recipe("long " * 10_000))
    assert load_recipe(path) is None
    assert load(path).shape == image.shape
    most = Recipe("x" * 32_690)
    assert load_recipe(save(tmp_path / "a.jpg", image, most)) == most
    for length in range(32_700, 32_730):  # around the limit: a file or a warning, never a failure
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            encode(image, "jpg", Recipe("x" * length))
    for suffix in (".png", ".webp"):
        long = Recipe("long " * 100_000, items=THREE)
        assert load_recipe(save(tmp_path / f"a{suffix}", image, long)) == long


def test_nothing_is_left_of_a_file_that_failed(tmp_path, image, monkeypatch):
    path = save(tmp_path / "a.png", image, RECIPE)
    before = path.read_bytes()

    def interrupt(descriptor):
        assert len(os.listdir(tmp_path)) == 2  # the new file is there, under another name
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(path, 255 - image)
    assert os.listdir(tmp_path) == ["a.png"]
    assert path.read_bytes() == before


def test_a_file_has_the_usual_permissions(tmp_path, image):
    (tmp_path / "other").touch()
    mode = (tmp_path / "other").stat().st_mode
    assert save(tmp_path / "a.png", image).stat().st_mode == mode


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((2, 8, 8, 3), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_wrong_pictures_are_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match=r"`image` must be uint8 \(H, W, 3\)\. Received: \w+ \("):
        save(tmp_path / "a.png", wrong)
    with pytest.raises(ValueError, match="`file_format` must be one of png, jpg, jpeg, webp"):
        save(tmp_path / "a.tiff", np.zeros((8, 8, 3), np.uint8))
    for quality in (0, 101, 90.5, "90", None):
        with pytest.raises(ValueError, match=f"`quality` must be .* Received: quality={quality!r}"):
            save(tmp_path / "a.jpg", np.zeros((8, 8, 3), np.uint8), quality=quality)
    assert os.listdir(tmp_path) == []


# --- reading what others wrote -------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1", "CMYK", "I;16"])
def test_pictures_of_every_mode_are_rgb(tmp_path, mode):
    if mode == "I;16":
        picture, expected = Image.fromarray(np.full((5, 7), 153 * 257, np.uint16)), 153
    else:  # 153 is a colour of the palette, too
        picture, expected = Image.new("RGB", (7, 5), (153,) * 3).convert(mode, dither=0), 153
    if mode == "1":
        picture, expected = Image.new("1", (7, 5), 1), 255
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    picture.save(path)
    image = load(path)
    assert image.shape == (5, 7, 3)
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - expected).max() <= 2


def test_transparency_lies_on_white_and_pictures_stand_upright(tmp_path):
    Image.new("RGBA", (2, 2), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (load(tmp_path / "clear.png") == 255).all()
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.new("RGB", (16, 8)).save(tmp_path / "turned.jpg", exif=exif)
    assert load(tmp_path / "turned.jpg").shape == (16, 8, 3)
    Image.new("RGB", (1, 999)).save(tmp_path / "thin.png")
    assert load(tmp_path / "thin.png").shape == (999, 1, 3)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bomb(width: int, height: int) -> bytes:
    """A tiny PNG that claims to be huge."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("read", [load, load_recipe])
def test_too_many_pixels_are_refused_before_decoding(tmp_path, read):
    path = tmp_path / "bomb.png"
    for size in [(9_000, 9_000), (10_000, 10_000), (60_000, 60_000)]:  # ours, Pillow's two limits
        path.write_bytes(bomb(*size))
        with pytest.raises(ValueError, match="A picture must have at most 67108864 pixels"):
            read(path)
    Image.new("RGB", (10, 10)).save(path)
    with pytest.raises(ValueError, match="must have at most 99 pixels. Received: 10x10 in"):
        read(path, max_pixels=99)
    read(path, max_pixels=100)


def test_pillows_limit_is_told_from_ours(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.new("RGB", (10, 10)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)  # Pillow warns from here to twice that
    assert load(path).shape == (10, 10, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(ValueError, match="must have at most 40 pixels. Received: "):
        load(path)


@pytest.mark.parametrize("read", [load, load_recipe])
def test_other_files_are_refused(tmp_path, image, read):
    for name in ("tiff", "bmp", "gif", "eps", "ppm"):
        path = tmp_path / f"other.{name}"
        Image.fromarray(image).save(path)
        path = path.rename(tmp_path / f"{name}.png")
        with pytest.raises(ValueError, match="`path` must be a PNG, JPEG or WebP picture"):
            read(path)
    (tmp_path / "empty.png").touch()
    with pytest.raises(ValueError, match="`path` must be a PNG, JPEG or WebP picture"):
        read(tmp_path / "empty.png")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_damaged_files_are_errors_and_nothing_worse(tmp_path, image, suffix):
    whole = encode(image, suffix, RECIPE)
    path = tmp_path / "a.png"
    path.write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(ValueError, match="damaged|must be a PNG"):
        load(path)
    rng = np.random.default_rng(0)
    for _ in range(60):
        broken = bytearray(whole[: rng.integers(1, len(whole))] if rng.random() < 0.5 else whole)
        for at in rng.integers(0, len(broken), 3):
            broken[at] = rng.integers(256)
        path.write_bytes(broken)
        for read in (load, load_recipe):
            with warnings.catch_warnings():  # Pillow warns about EXIF that it cannot read
                warnings.simplefilter("ignore")
                with suppress(ValueError):  # the damage may also leave a picture
                    read(path)


# --- animations ----------------------------------------------------------------------------------


def frames(count: int) -> np.ndarray:
    images = np.zeros((count, 8, 12, 3), np.uint8)
    images[:, :, :, 0] = np.linspace(0, 255, count).astype(np.uint8)[:, None, None]
    return images


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animation(tmp_path, suffix):
    path = save_animation(tmp_path / f"walk{suffix}", frames(7), fps=30)
    with Image.open(path) as animation:
        assert animation.n_frames == 7
        assert animation.size == (12, 8)
        assert animation.info["loop"] == 0
        total = 0
        for i in range(7):
            animation.seek(i)
            animation.load()
            total += animation.info["duration"]
            colour = np.asarray(animation.convert("RGB")).mean(axis=(0, 1))
            np.testing.assert_allclose(colour, [np.linspace(0, 255, 7)[i], 0, 0], atol=6)
    assert total == (230 if suffix == ".gif" else 233)
    assert os.listdir(tmp_path) == [path.name]


def test_rubber_band_plays_backwards_too(tmp_path):
    path = save_animation(tmp_path / "a.gif", list(frames(4)), rubber_band=True)
    with Image.open(path) as animation:
        reds = []
        for i in range(animation.n_frames):
            animation.seek(i)
            reds.append(int(np.asarray(animation.convert("RGB"))[0, 0, 0]))
    assert reds == [0, 85, 170, 255, 170, 85]


@pytest.mark.parametrize(
    ("name", "images", "options", "message"),
    [
        ("a.mp4", frames(2), {}, r"`path` must end in \.gif or \.webp"),
        ("a.gif", frames(2), {"fps": 0}, "`fps` must be above 0 and at most 50. Received: fps=0"),
        ("a.gif", frames(2), {"fps": "10"}, "`fps` must be above 0 .* Received: fps='10'"),
        ("a.gif", frames(2), {"fps": float("nan")}, "`fps` must be above 0"),
        ("a.gif", [], {}, "`images` must be pictures of one size"),
        ("a.gif", [frames(1)[0], frames(1)[0, :4]], {}, "`images` must be pictures of one size"),
        ("a.gif", frames(2).astype(float), {}, "`image` must be uint8"),
    ],
)
def test_wrong_animations_are_refused(tmp_path, name, images, options, message):
    with pytest.raises(ValueError, match=message):
        save_animation(tmp_path / name, images, **options)
    assert os.listdir(tmp_path) == []


def test_text_in_a_file_is_the_text_of_the_recipe(tmp_path, image):
    with Image.open(save(tmp_path / "a.png", image, RECIPE)) as picture:
        assert read_text(picture.info["parameters"]) == RECIPE
