"""`sfumato upscale`: files next to files, what they say, what cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfumato.pictures import Recipe, load, load_recipe, save

PIXELS = np.random.default_rng(0).integers(0, 256, (10, 14, 3), np.uint8)
RECIPE = Recipe("ein Apfel, grün", "rot", {"Steps": "20", "Seed": "7"})


@pytest.fixture(autouse=True)
def files(sfumato):
    """Pictures of each kind in a folder."""
    for ending in ("png", "jpg", "webp"):
        save(f"in/a.{ending}", PIXELS, RECIPE)


def test_a_folder(sfumato):
    done = sfumato("upscale", "in", "--upscaler", "lanczos", "-o", "out")
    names = [str(Path("out", f"a-2x.{ending}")) for ending in ("jpg", "png", "webp")]
    assert (done.code, done.lines) == (0, names)
    expected = Image.fromarray(PIXELS).resize((28, 20), Image.Resampling.LANCZOS)
    assert np.array_equal(load("out/a-2x.png"), np.array(expected))
    for name in names:
        assert load_recipe(name).prompt == RECIPE.prompt
        assert load_recipe(name).items["Seed"] == "7"
    with Image.open("out/a-2x.png") as picture:
        note = "Postprocess upscale by: 2, Postprocess upscaler: Lanczos"
        assert picture.info["postprocessing"] == note


def test_the_new_file_is_next_to_the_old_one_and_replaces_none(sfumato):
    options = ("--scale", "1.5", "--upscaler", "nearest")
    first = sfumato("upscale", "in/a.png", *options)
    second = sfumato("upscale", "in/a.png", *options)
    names = [str(Path("in", name)) for name in ("a-1.5x.png", "a-1.5x-2.png")]
    assert [first.lines, second.lines] == [[name] for name in names]
    assert load("in/a-1.5x.png").shape == (15, 21, 3)


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
@pytest.mark.parametrize("source", ["png", "jpg", "webp"])
def test_the_recipe_goes_from_every_format_into_every_other(sfumato, source, ending):
    done = sfumato("upscale", f"in/a.{source}", "--upscaler", "nearest", "-o", f"b.{ending}")
    assert (done.code, done.lines) == (0, [f"b.{ending}"])
    assert load_recipe(f"b.{ending}").prompt == RECIPE.prompt


def test_what_else_a_file_says(sfumato):
    """Profile, camera, chunks of other programs; it stands upright, so nothing says to turn it."""
    from PIL.PngImagePlugin import PngInfo

    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera"
    chunks = PngInfo()
    chunks.add_text("workflow", "{}")
    Image.fromarray(PIXELS).save("c.png", exif=exif, pnginfo=chunks, icc_profile=b"profile")
    assert sfumato("upscale", "c.png", "--upscaler", "nearest").code == 0
    with Image.open("c-2x.png") as picture:
        assert picture.size == (20, 28)
        assert picture.info["workflow"] == "{}"
        assert picture.info["icc_profile"] == b"profile"
        assert dict(picture.getexif()) == {0x010F: "camera"}
    options = ("--upscaler", "nearest", "--no-metadata", "-o", "d.png")
    assert sfumato("upscale", "c.png", *options).code == 0
    with Image.open("d.png") as picture:
        assert not {"workflow", "icc_profile", "postprocessing", "exif"} & picture.info.keys()


def test_transparency(sfumato):
    pixels = np.dstack([PIXELS, np.full((10, 14), 100, np.uint8)])
    Image.fromarray(pixels).save("e.png")
    assert sfumato("upscale", "e.png", "--upscaler", "bicubic").code == 0
    with Image.open("e-2x.png") as picture:
        assert picture.mode == "RGBA"
        assert picture.getextrema()[3] == (100, 100)
    assert sfumato("upscale", "e.png", "--upscaler", "bicubic", "-o", "e.jpg").code == 0
    assert load("e.jpg").mean() > load("e-2x.png").mean() - 3  # both lie on white


def test_what_cannot_be_enlarged_keeps_nothing_else_from_it(sfumato):
    Path("broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    done = sfumato("upscale", "none.png", "broken.png", "in/a.png", "--upscaler", "nearest")
    assert (done.code, done.lines) == (1, [str(Path("in", "a-2x.png"))])
    assert "none.png" in done.err
    assert "broken.png" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "there is no picture"),
        (("in/a.png", "--scale", "9"), 1, "`scale` must be a number from 1 to 8"),
        (("in/a.png", "--scale", "big"), 2, "--scale"),
        (("in/a.png", "--upscaler", "other"), 1, "`upscaler` must be one of esrgan"),
        (("in/a.png", "--upscaler", "in/a.png"), 1, "file must end in .safetensors"),
        (("in/a.png", "--tile", "5"), 1, "`tile` must be a whole number from 96"),
        (("in/a.png", "-o", "out.gif"), 2, "must be a folder or end in"),
    ],
)
def test_arguments_that_cannot_be(sfumato, arguments, code, says):
    done = sfumato("upscale", *arguments)
    assert (done.code, done.lines) == (code, [])
    assert says in " ".join(done.err.split())
