"""Files of textual inversion: every dialect, and what is refused."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from sfumato.adapters.embedding import Embedding, read_embedding, read_embeddings
from sfumato.checkpoints import CheckpointError
from sfumato.checkpoints.safetensors import write_safetensors

VECTORS = np.random.default_rng(0).standard_normal((3, 768)).astype("float32")
OTHERS = np.random.default_rng(1).standard_normal((3, 1280)).astype("float32")


def a1111(vectors: Any) -> dict[str, Any]:
    return {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": vectors},
        "name": "easy",
        "step": 15,
        "sd_checkpoint": None,
        "sd_checkpoint_name": None,
    }


def saved(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


PICKLES: dict[str, Any] = {
    "a1111": a1111(torch.from_numpy(VECTORS)),
    "trained": a1111(torch.nn.Parameter(torch.from_numpy(VECTORS))),
    "parameters": {"string_to_param": torch.nn.ParameterDict({"*": torch.from_numpy(VECTORS)})},
    "kohya": {"emb_params": torch.from_numpy(VECTORS)},
    "diffusers": {"<easy>": torch.from_numpy(VECTORS)},
    "bare": torch.from_numpy(VECTORS),
    "list": [{"*": torch.from_numpy(VECTORS)}],
}


@pytest.mark.parametrize("dialect", PICKLES)
def test_pickles(dialect: str, tmp_path: Path) -> None:
    found = read_embedding(saved(PICKLES[dialect], tmp_path / "easy.pt"))
    assert found is not None
    np.testing.assert_array_equal(found.vectors[0], VECTORS)
    assert (len(found), found.made_for) == (3, "1.x")
    assert found.token == ("<easy>" if dialect == "diffusers" else "")


def old_parameters(path: Path) -> Path:
    """As PyTorch 1.12 wrote a ParameterDict: by its attributes."""
    held = torch.nn.ParameterDict({"*": torch.from_numpy(VECTORS)})
    vars(held).update(_parameters={"*": held["*"]}, _non_persistent_buffers_set=set())
    return saved({"string_to_param": held}, path)


def test_a_parameter_dict_of_an_old_version(tmp_path: Path) -> None:
    found = read_embedding(old_parameters(tmp_path / "easy.pt"))
    assert found is not None
    np.testing.assert_array_equal(found.vectors[0], VECTORS)


@pytest.mark.parametrize(
    ("names", "ending"),
    [
        (("clip_l", "clip_g"), ".safetensors"),
        (("text_encoders_0", "text_encoders_1"), ".pti"),
        (("emb", "emb2"), ".safetensors"),
    ],
)
def test_both_text_encoders_of_xl(names: tuple[str, str], ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"easy{ending}"
    write_safetensors(path, dict(zip(names, (VECTORS, OTHERS.astype("float16")), strict=True)))
    found = read_embedding(path)
    assert found is not None
    assert (found.widths, found.made_for) == ((768, 1280), "XL")
    np.testing.assert_array_equal(found.vectors[1], OTHERS.astype("float16"))
    assert found.vectors[1].dtype == np.float32


def in_json(vectors: np.ndarray) -> bytes:
    content = a1111({"TORCHTENSOR": vectors.astype(float).tolist()})
    return json.dumps(content).encode()


def shape_card(content: bytes, height: int = 64) -> Image.Image:
    """A1111's picture with a content in its margins."""
    data = np.frombuffer(zlib.compress(content, 9), np.uint8)
    columns = -(-len(data) // (3 * height)) + 1
    data = np.resize(data, (height, columns, 3))
    states, state = [], 0
    for _ in range(data.size):
        state = (1664525 * state + 1013904223) % 2**32
        states.append(state % 255 & 15)
    mask = np.reshape(states, data.shape).astype(np.uint8)
    # The upper bits are an ornament, which is not read.
    margins = [0x80 | (half ^ mask) for half in (data & 15, data >> 4)]
    picture, black = np.full((height, 48, 3), 201, np.uint8), np.zeros((height, 1, 3), np.uint8)
    return Image.fromarray(np.concatenate([margins[0], black, picture, black, margins[1]], axis=1))


@pytest.mark.parametrize("place", ["text", "pixels"])
def test_shape_cards(place: str, tmp_path: Path) -> None:
    path = tmp_path / "card.png"
    if place == "text":
        info = PngImagePlugin.PngInfo()
        info.add_text("sd-ti-embedding", base64.b64encode(in_json(VECTORS)).decode())
        Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    else:
        shape_card(in_json(VECTORS)).save(path)
    found = read_embedding(path)
    assert found is not None
    np.testing.assert_array_equal(found.vectors[0], VECTORS)
    assert found.token == "easy"  # the name in the card


@pytest.mark.parametrize("colour", [0, 7, 200])
def test_any_other_picture_holds_none(colour: int, tmp_path: Path) -> None:
    pixels = np.full((32, 48, 3), colour, np.uint8)
    pixels[:, [9, 30]] = 0
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    assert read_embedding(tmp_path / "picture.png") is None


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        read_embedding(path)
    assert str(path) in str(error.value)
    return str(error.value)


def test_what_is_no_embedding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    for tensors, what in (
        ({"lora_unet_x.lora_down.weight": VECTORS, "y": VECTORS}, "it holds 2 tensors"),
        ({"clip_l": VECTORS, "clip_g": OTHERS[:2]}, "different numbers of vectors"),
        ({"emb_params": np.full((1, 768), np.nan, "float32")}, "not finite"),
        ({"emb_params": np.zeros((1, 2, 768), "float32")}, r"shape (1, 2, 768)"),
        ({"emb_params": np.zeros((0, 768), "float32")}, r"shape (0, 768)"),
        ({"emb_params": np.zeros((3000, 8), "float32")}, r"shape (3000, 8)"),
        ({"emb_params": np.zeros((1, 768), "int64")}, "no floating-point numbers"),
    ):
        write_safetensors(path, tensors)
        assert what in refused(path)
    for content, what in (({}, "no tensors at all"), ("text", "it holds a str")):
        assert what in refused(saved(content, tmp_path / "file.pt"))


def test_damaged_and_hostile_files(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    write_safetensors(path, {"emb_params": VECTORS})
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    assert "cut off" in refused(path)
    path.write_bytes((2**60).to_bytes(8, "little") + whole[8:])
    assert "the header claims" in refused(path)

    path = saved(PICKLES["a1111"], tmp_path / "file.pt")
    path.write_bytes(path.read_bytes()[:-40])
    assert "cut off" in refused(path)
    path.write_bytes(pickle.dumps({"*": np.zeros(3)}))
    assert "it is not a zip archive" in refused(path)

    path = tmp_path / "card.png"
    bomb = b"[" + b" " * 2**25
    shape_card(bomb).save(path)
    assert "more than" in refused(path)
    info = PngImagePlugin.PngInfo()
    info.add_text("sd-ti-embedding", "{" * 99)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    assert "damaged" in refused(path)


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    saved(PICKLES["a1111"], tmp_path / "Easy.pt")
    saved(PICKLES["diffusers"], tmp_path / "inner/learned_embeds.bin")
    Image.new("RGB", (8, 8)).save(tmp_path / "Easy.preview.png")
    (tmp_path / "notes.txt").write_text("none of it")
    (tmp_path / "broken.safetensors").write_bytes(b"")
    found, others = read_embeddings(tmp_path)
    assert [*found] == ["Easy", "learned_embeds", "<easy>"]
    assert found["learned_embeds"] == found["<easy>"] != found["Easy"]
    assert "is empty" in others["broken.safetensors"]
    assert len({*found.values()}) == 2


def test_embeddings_are_values() -> None:
    one = Embedding((VECTORS,), "ab", "<one>")
    assert one == Embedding((VECTORS.copy(),), "ab")
    assert one != Embedding((VECTORS + 1,), "ab")
