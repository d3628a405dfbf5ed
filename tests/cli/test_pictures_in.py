"""`sfumato generate --image`: one picture, several, a folder; masks; the recipe of the result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfumato.pictures import load_recipe, save

PHOTO = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
MASK = np.zeros((24, 32, 3), np.uint8)
MASK[4:12, 8:20] = 255


@pytest.fixture(autouse=True)
def files(sfumato):
    """A folder of two pictures, another with their masks, and a third picture."""
    for folder in ("photos", "masks"):
        Path(folder).mkdir()
    save("photos/a.png", PHOTO)
    save("photos/b.png", PHOTO[:16, ::-1])
    Path("photos/notes.txt").write_text("no picture")
    save("masks/a.png", MASK)
    save("masks/b.png", MASK[:16, ::-1])
    save("apple.png", 255 - PHOTO)


def test_a_folder_and_a_file(sfumato, model):
    options = ("--image", "photos", "--image", "apple.png", "--seed", "5", "--strength", "0.5")
    done = sfumato("generate", "a", "b", *options)
    assert (done.code, done.err, len(done.lines)) == (0, "", 6)
    names = [(request.image_name, request.prompt) for request in model.requests]
    assert names == [(n, p) for n in ("a.png", "b.png", "apple.png") for p in "ab"]
    assert {request.seed for request in model.requests} == {5}
    sizes = [(request.height, request.width) for request in model.requests]
    assert sizes == [(24, 32)] * 2 + [(16, 32)] * 2 + [(24, 32)] * 2
    assert [load_recipe(line).items["Image"] for line in done.lines[::2]] == [
        *("a.png", "b.png", "apple.png")
    ]


def test_pictures_without_a_seed_share_one(sfumato, model):
    assert sfumato("generate", "a", "--image", "photos").code == 0
    first, second = model.requests
    assert first.seed == second.seed


def test_masks_of_several_pictures(sfumato, model):
    fields = ("--mask-blur", "1.5", "--inpaint-area", "masked", "--padding", "4")
    done = sfumato("generate", "a", "--image", "photos", "--mask", "masks", *fields)
    assert (done.code, done.err) == (0, "")
    first, second = model.requests
    np.testing.assert_array_equal(first.mask, MASK[..., 0])
    np.testing.assert_array_equal(second.mask, MASK[:16, ::-1, 0])
    assert (first.mask_blur, first.inpaint_area, first.padding) == (1.5, "masked", 4)
    same = ("--image", "photos/a.png", "--image", "apple.png", "--mask", "masks/a.png")
    assert sfumato("generate", "a", *same).code == 0
    np.testing.assert_array_equal(model.requests[-1].mask, MASK[..., 0])


def test_outpainting_and_resizing(sfumato, model):
    assert sfumato("generate", "a", "--image", "apple.png", "--extend", "left=16,top=8").code == 0
    (request,) = model.requests
    assert (request.height, request.width, request.strength) == (32, 48, 1.0)
    resized = ("--image", "photos", "--resize", "crop", "--size", "16x16")
    assert sfumato("generate", "a", *resized).code == 0
    assert {(r.height, r.width, r.resize) for r in model.requests[1:]} == {(16, 16, "crop")}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--image", "none.png"), "--image must be a PNG, JPEG or WebP file, or a folder"),
        (("--image", "empty"), "--image must be a PNG, JPEG or WebP file, or a folder"),
        (("--image", "photos/notes.txt"), "--image must be a PNG, JPEG or WebP file, or a folder"),
        (("--image", "apple.png", "--mask", "masks"), "--mask must be one, or one for each"),
        (("--mask", "apple.png"), "--image must be given with `mask`. Received: image=None"),
        (("--image", "photos/b.png", "--mask", "masks/a.png"), "--mask must have shape (16, 32)"),
        (("--image", "apple.png", "--mask-blur", "4"), "--mask must be given with `mask_blur`"),
        (("--image", "apple.png", "--extend", "up=8"), "--extend must be sides with pixels"),
        (("--image", "apple.png", "--resize", "squeeze"), "--resize must be one of crop, fill"),
        (("--image", "apple.png", "--size", "16x16"), "--image must have shape (16, 16), or"),
        (("--image", "clear.png", "--mask", "clear.png"), "--mask must be a picture file"),
    ],
)
def test_what_cannot_be(sfumato, model, options, message):
    Image.new("RGBA", (32, 24)).save("clear.png")
    Path("empty").mkdir()
    done = sfumato("generate", "a", *options)
    assert (done.code, done.out, model.requests) == (2, "", [])
    assert done.err.startswith(f"sfumato: error: {message}")


def test_a_damaged_picture_of_a_folder_is_found_before_any_is_painted(sfumato, model):
    Path("photos/z.png").write_bytes(Path("apple.png").read_bytes()[:20])
    done = sfumato("generate", "a", "--image", "photos")
    assert (done.code, model.loaded) == (2, [])


class TestFrom:
    """`--from` of a picture that was made from pictures."""

    @pytest.fixture(autouse=True)
    def made(self, sfumato, files, model):
        """The options that name its pictures again."""
        self.pictures = ("--image", "apple.png", "--mask", "masks/a.png")
        fields = ("--inpaint-area", "masked", "--mask-blur", "2", "--seed", "3", "--size", "24x16")
        done = sfumato("generate", "a", *self.pictures, *fields, "-o", "made.png")
        assert done.code == 0, done.err

    def test_the_same_pictures_repeat_it(self, sfumato, model):
        done = sfumato("generate", "--from", "made.png", *self.pictures, "-o", "again.png")
        assert (done.code, done.err) == (0, "")
        first, again = model.requests
        assert again == first
        assert Path("again.png").read_bytes() == Path("made.png").read_bytes()

    def test_other_pictures_are_said_to_be_others(self, sfumato, model):
        others = ("--image", "photos/a.png", "--mask", "masks/a.png")
        done = sfumato("generate", "--from", "made.png", *others)
        assert done.code == 0
        assert done.err == (
            "sfumato: warning: The image is not the one of the recipe (apple.png), so the picture "
            "will differ.\n"
        )
        Image.fromarray(MASK).rotate(180).save("other.png")
        done = sfumato("generate", "--from", "made.png", *self.pictures[:3], "other.png")
        assert (done.code, done.err.count("The mask is not the one of the recipe")) == (0, 1)

    def test_what_is_missing_is_named(self, sfumato, model):
        done = sfumato("generate", "--from", "made.png")
        assert done.code == 1
        assert "made from another picture (apple.png)" in done.err
        assert "name it with --image" in done.err
        done = sfumato("generate", "--from", "made.png", *self.pictures[:2])
        assert done.code == 1
        assert (
            "painted with a mask, which its recipe does not hold; name it with --mask" in done.err
        )
