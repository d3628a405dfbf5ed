"""LoRAs in the weights of a model: what is merged, and what comes between."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_model
from adapters.tiny_loras import NETWORKS, PLACE, digest, show, write
from sfumato import kernels
from sfumato.adapters.embedding import Embedding
from sfumato.adapters.lora import read_lora
from sfumato.adapters.merging import Merger, Use
from sfumato.checkpoints.safetensors import write_safetensors
from sfumato.checkpoints.save import export
from sfumato.request import RequestError
from sfumato.stable_diffusion import StableDiffusion


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.save(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def model(folder: Path) -> StableDiffusion:
    return tiny_model.load(folder)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write(tmp_path_factory.mktemp("loras"))


def test_merged_weights_are_those_of_the_formula(folder: Path, files: list[str]) -> None:
    model = tiny_model.load(folder)
    unet, text = model.diffusion_model, model.text_encoder
    before = {"unet": export(unet), "text_encoder": export(text)}
    lora = read_lora(files[0], NETWORKS)
    weights = {"unet": 0.5, "text": 0.25, "down_blocks.1": 2.0, "down_blocks": 1.5}
    merger = Merger()
    merger.merge({"unet": unet, "text_encoder": text}, [Use(lora, weights)])
    after = {"unet": export(unet), "text_encoder": export(text)}

    strengths = {"down_blocks.0": 1.5, "down_blocks.1": 2.0, "up_blocks.1": 0.5, "encoder": 0.25}
    for part, tensors in before.items():
        for name, old in tensors.items():
            update = lora.updates[part].get(name)
            if update is None:
                assert np.array_equal(after[part][name], old)
                continue
            [strength] = [x for place, x in strengths.items() if name.startswith(place)]
            f = update.factors
            change = (
                np.tensordot(f["lora_up"], f["lora_down"], 1)
                if "lora_up" in f
                else next(iter(f.values()))
            )
            delta = strength * change
            # float32, and the order of sums
            np.testing.assert_allclose(
                after[part][name].reshape(delta.shape), old.reshape(delta.shape) + delta,
                rtol=1e-5, atol=1e-5,
            )  # fmt: skip
    merger.remove()
    assert digest(unet) == digest(tiny_model.load(folder).diffusion_model)


def test_half_precision_takes_the_weights_of_the_file(folder: Path, files: list[str]) -> None:
    """Rounded once: the sum in float32 from the file, not from rounded weights."""
    exact = tiny_model.load(folder)
    half = StableDiffusion(32, 32, preset=exact.model, dtype="bfloat16")
    uses = [Use(read_lora(files[0], NETWORKS), 0.1)]
    found = []
    for model in (exact, half):
        merger = Merger()
        unet = model.diffusion_model
        merger.merge({"unet": unet}, uses, model.model.checkpoint.parts)
        found.append(export(unet))
        merger.remove()
    for name in uses[0].lora.updates["unet"]:
        rounded = found[0][name].astype(found[1][name].dtype)
        assert np.array_equal(found[1][name], rounded), name


def test_what_somebody_assigned_meanwhile_stays(folder: Path, files: list[str]) -> None:
    unet = tiny_model.load(folder).diffusion_model
    kernel = unet.down_blocks[0].attentions[0].transformer_blocks[0].ff.net[0].proj.kernel
    merger = Merger()
    merger.merge({"unet": unet}, [Use(read_lora(files[0], NETWORKS))])
    kernel.assign(np.zeros(kernel.shape))
    with pytest.warns(UserWarning, match="1 weights were assigned"):
        merger.remove()
    assert not kernels.read(kernel).any()


def test_a_file_that_does_not_fit_leaves_everything_as_it_was(
    model: StableDiffusion, files: list[str], tmp_path: Path
) -> None:
    plain, before = show(model), show(model, files[0])
    bad = tmp_path / "bad.safetensors"
    write_safetensors(bad, {f"{PLACE}attn1_to_q.diff": np.zeros((3, 3), "float32")})
    with pytest.raises(ValueError, match="does not fit"):
        show(model, files[1], str(bad))
    assert np.array_equal(show(model, files[0]), before)
    with pytest.raises(ValueError, match="does not fit"):
        show(model, files[1], str(bad))
    assert np.array_equal(show(model), plain)


def test_parts_and_copies_of_a_model_have_no_lora_in_them(folder: Path, files: list[str]) -> None:
    model = tiny_model.load(folder)
    plain = digest(model.diffusion_model)
    unet = model.parts.diffusion_model
    for reach in (
        lambda: pickle.loads(pickle.dumps(model)).diffusion_model,
        lambda: model.diffusion_model,
        lambda: model.add_tokens("<cat>", "cat") or unet,  # copies the text encoder
        lambda: setattr(model, "diffusion_model", tiny_model.load(folder).diffusion_model) or unet,
    ):
        model.parts.loras.use(((files[0], 0.5),))
        assert digest(unet) != plain
        assert digest(reach()) == plain
    assert digest(model.parts.diffusion_model) == plain


def test_streams_in_turn_keep_their_own(model: StableDiffusion, files: list[str]) -> None:
    expected = [show(model, file) for file in files]
    options = {"num_steps": 2, "seed": 5, "verbose": False, "loras": files[0]}
    assert np.array_equal(model.text_to_image("a red apple", **options)[0], expected[0])
    streams = [model.stream("a red apple", steps=2, seed=5, loras=(file,)) for file in files]
    made: list[Any] = [None, None]
    for _ in range(3):  # two steps and a picture
        for i, stream in enumerate(streams):
            made[i] = next(stream)
    assert all(np.array_equal(m.pixels, e) for m, e in zip(made, expected, strict=True))


def test_weights_of_what_is_not_there_are_refused(model: StableDiffusion, files: list[str]) -> None:
    for place in ("unett", "down_blocks.7", "down"):
        with pytest.raises(RequestError, match="`loras` must have weights for unet, text, or"):
            show(model, (files[0], {place: 0.5}))
    assert np.array_equal(show(model, (files[0], {"unet": 0, "text": 0})), show(model))


def test_words_in_a_lora_come_along(model: StableDiffusion, tmp_path: Path) -> None:
    path, rows = str(tmp_path / "a.safetensors"), np.ones((2, 16), "float32")
    write_safetensors(path, {"bundle_emb.cat.clip_l": rows})
    word = {"cat": Embedding((rows,))}

    def paint(prompt: str, **fields: Any) -> np.ndarray:
        return model.generate(prompt, seed=1, steps=2, **fields)[0].pixels

    learned = paint("a cat", loras=[path])
    assert np.array_equal(learned, paint("a cat", embeddings=word))
    assert not np.array_equal(learned, paint("a cat"))
    assert np.array_equal(paint("a dog", loras=[path]), paint("a dog"))
    [picture] = model.generate("a cat", loras=[path], steps=1)
    assert "TI hashes" not in picture.request.recipe().items  # the LoRA's name says it
