"""Files as other programs write them: their recipe is read, or whose it is is said."""

from __future__ import annotations

import json
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from sfumato.pictures import Recipe, encode, load_recipe, save
from sfumato.pictures.others import program_of

ITEMS = {"Steps": "1", "CFG scale": "3", "Seed": "2"}
TEXT = "a cat\nSteps: 1, CFG scale: 3, Seed: 2"
PIXELS = np.zeros((8, 8, 3), np.uint8)
GRAPH = json.dumps({"3": {"class_type": "KSampler", "inputs": {"seed": 5}}})
SWARM = json.dumps({"sui_image_params": {"prompt": "a cat", "seed": 5, "steps": 20}}, indent=2)
RUINED = json.dumps({"Prompt": "a cat", "steps": 30, "software": "RuinedFooocus"})
SPACE = json.dumps({"prompt": "a cat", "num_inference_steps": 25, "seed": 5})
CIVITAI = json.dumps({"resource-stack": {"class_type": "Loader"}, "extraMetadata": "{}"})


def png(path: Path, **texts: str) -> Path:
    chunks = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        chunks.add_text(name, text)
    Image.fromarray(PIXELS).save(path, pnginfo=chunks)
    return path


def with_exif(path: Path, comment: object = None, **tags: str) -> Path:
    """A JPEG or WebP whose comment is where the standard has it, and tags of the picture."""
    names = {"Software": 0x0131, "Make": 0x010F, "Model": 0x0110, "UserComment": 0x9286}
    exif = Image.Exif()
    exif.update({names[name]: text for name, text in tags.items()})
    if comment is not None:
        exif.get_ifd(0x8769)[0x9286] = comment
    Image.fromarray(PIXELS).save(path, exif=exif)
    return path


@pytest.mark.parametrize("name", [b"tEXt", b"zTXt"])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_utf8_in_a_chunk_that_should_be_latin_1(tmp_path, name, encoding):
    text = TEXT.replace("cat", "café").encode(encoding)
    content = b"parameters\0" + (b"\0" + zlib.compress(text) if name == b"zTXt" else text)
    file = encode(PIXELS)
    crc = struct.pack(">I", zlib.crc32(name + content))
    path = tmp_path / "a.png"
    chunk = struct.pack(">I", len(content)) + name + content + crc
    path.write_bytes(file[:33] + chunk + file[33:])  # behind IHDR
    assert load_recipe(path) == Recipe("a café", "", ITEMS)


@pytest.mark.parametrize("prompt", ["Ã© is no é", "naïve Â£", "é Ã", "\x80", "Ã©"])
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_our_own_latin_1_is_never_taken_for_utf8(tmp_path, prompt, suffix):
    for recipe in (Recipe(prompt), Recipe(prompt, prompt, ITEMS)):
        assert load_recipe(save(tmp_path / f"a.{suffix}", PIXELS, recipe)) == recipe


@pytest.mark.parametrize(
    "comment",
    [
        TEXT.encode(),  # without a code of characters
        TEXT.encode() + b"\0\0",
        b"ASCII\0\0\0" + TEXT.encode() + b"\0",
        b"\0" * 8 + TEXT.encode(),
        b"UNICODE\0" + TEXT.encode(),  # which is not what the code says
        b"UNICODE\0" + TEXT.encode("utf-16-be"),
        b"UNICODE\0" + TEXT.encode("utf-16-le"),
        b"UNICODE\0" + TEXT.encode("utf-16"),  # with a mark of its order
    ],
)
@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_comments_however_they_are_written(tmp_path, comment, suffix):
    assert load_recipe(with_exif(tmp_path / f"a.{suffix}", comment)) == Recipe("a cat", "", ITEMS)


def test_the_chunk_of_a_png_as_the_comment_of_a_jpeg(tmp_path):
    text = TEXT.replace("cat", "café") + ", RNG: cuda, Version: stable-diffusion.cpp"
    comment = b"parameters\0" + text.encode() + b"\0"
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg", comment=comment)
    items = ITEMS | {"RNG": "cuda", "Version": "stable-diffusion.cpp"}
    assert load_recipe(tmp_path / "a.jpg") == Recipe("a café", "", items)
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg", comment=b"CREATOR: gd-jpeg v1.0")
    assert load_recipe(tmp_path / "a.jpg") is None


@pytest.mark.parametrize("suffix", ["jpg", "webp", "png"])
def test_a_comment_among_the_tags_of_the_picture(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    with_exif(path, Software="Fooocus v2.5.5", UserComment=TEXT)
    assert load_recipe(path) == Recipe("a cat", "", ITEMS)


@pytest.mark.parametrize(
    "comment", [b"", b"\0" * 8, b"ASCII\0\0\0", b"ASCII\0\0\0    ", b"UNICODE\0", b" \0 \0 "]
)
def test_an_empty_comment_is_no_recipe(tmp_path, comment):
    assert load_recipe(with_exif(tmp_path / "a.jpg", comment)) is None
    assert load_recipe(with_exif(tmp_path / "b.jpg", comment, UserComment=TEXT)) is not None


def test_an_empty_chunk_is_no_recipe(tmp_path):
    assert load_recipe(png(tmp_path / "a.png", parameters="")) is None
    assert load_recipe(png(tmp_path / "b.png", parameters=" \n")) is None


@pytest.mark.parametrize(
    ("program", "texts"),
    [
        ("SwarmUI", {"parameters": SWARM[:-9]}),  # cut off
        ("SwarmUI", {"parameters": '{"sui_image_params": {}}'}),
        ("RuinedFooocus", {"parameters": RUINED}),
        ("InvokeAI", {"sd-metadata": "{}", "Dream": "a cat"}),
        ("NovelAI", {"Software": "NovelAI", "Description": "a cat"}),
        ("ComfyUI", {"prompt": GRAPH, "workflow": '{"nodes": []}'}),  # neither words nor steps
        ("ComfyUI", {"workflow": '{"nodes": []}'}),
        ("Easy Diffusion", {"prompt": "a cat", "seed": "5", "negative_prompt": ""}),
        ("Midjourney", {"Description": "a cat --v 6 Job ID: 1-2-3", "Author": "x"}),
        ("another program", {"parameters": SPACE}),
        ("another program", {"metadata": SPACE}),
    ],
)
def test_a_form_that_is_not_read_names_its_program(tmp_path, program, texts):
    with pytest.raises(
        ValueError, match=rf"carries a recipe of {program}, which is not read( \(.*\))?: .*a.p"
    ):
        load_recipe(png(tmp_path / "a.png", **texts))


@pytest.mark.parametrize(
    ("program", "comment", "tags"),
    [
        ("Civitai", b"UNICODE\0" + CIVITAI.encode("utf-16-be"), {}),
        ("ComfyUI", None, {"Make": 'workflow:{"nodes": []}', "Model": f"prompt:{GRAPH}"}),
    ],
)
@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_so_does_one_in_exif(tmp_path, program, comment, tags, suffix):
    with pytest.raises(ValueError, match=f"carries a recipe of {program}, which is not read"):
        load_recipe(with_exif(tmp_path / f"a.{suffix}", comment, **tags))


def test_a_text_that_can_be_read_comes_before_a_form_that_cannot(tmp_path):
    path = png(tmp_path / "a.png", prompt=GRAPH, workflow="{}", parameters=TEXT)
    assert load_recipe(path) == Recipe("a cat", "", ITEMS)


@pytest.mark.parametrize(
    "texts",
    [
        {"Software": "GIMP", "Comment": "a prompt for the workflow of ComfyUI and Fooocus"},
        {"prompt": "C:\\>", "Title": "NovelAI", "comment": "none"},
        {"UserComment": '{"filter": 0, "mode": "portrait"}'},  # of a telephone
    ],
)
def test_other_texts_are_nobodys_recipe(texts):
    assert program_of(texts) is None


@pytest.mark.parametrize("part", ['"', "prompt", '"prompt', '"sui', "[", "{", "\n", "Fooocu"])
def test_whose_a_recipe_is_takes_linear_time(part):
    start = time.perf_counter()
    program_of({"parameters": "{" + part * (200_000 // len(part))})
    assert time.perf_counter() - start < 2  # quadratic time would be minutes
