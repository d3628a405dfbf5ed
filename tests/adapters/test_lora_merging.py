"""LoRAs change pictures, compile nothing, and leave the weights as they were, bit for bit."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import tiny_model
from sfumato.adapters import Merger, Networks, Use, read_lora
from sfumato.checkpoints.safetensors import write_safetensors
from sfumato.checkpoints.save import export
from sfumato.stable_diffusion import StableDiffusion

pytestmark = pytest.mark.backend("jax", "tensorflow", "torch", "openvino")

NETWORKS = Networks(tiny_model.UNET, tiny_model.TEXT)
PLACE = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_"
LAYERS = {
    f"{PLACE}attn1_to_q": (16, 16),
    f"{PLACE}attn1_to_v": (16, 16),
    f"{PLACE}attn2_to_k": (16, 16),
    f"{PLACE}ff_net_0_proj": (128, 16),
    "lora_unet_down_blocks_1_resnets_0_conv1": (32, 16, 3, 3),
    "lora_unet_up_blocks_1_resnets_0_conv_shortcut": (16, 48),
    "lora_te_text_model_encoder_layers_0_self_attn_k_proj": (16, 16),
    "lora_te_text_model_encoder_layers_1_mlp_fc1": (32, 16),
}


def write(path: Path, seed: int, only: str = "") -> Path:
    random = np.random.default_rng(seed)
    file = {}
    for name, (out, *inputs) in LAYERS.items():
        if name.startswith(only):
            file[f"{name}.lora_up.weight"] = random.standard_normal((out, 2)).astype("float32")
            file[f"{name}.lora_down.weight"] = random.standard_normal((2, *inputs)).astype(
                "float32"
            )
    write_safetensors(path, file)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.save(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def model(folder: Path) -> StableDiffusion:
    return tiny_model.load(folder)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    place = tmp_path_factory.mktemp("loras")
    return [str(write(place / f"{seed}.safetensors", seed)) for seed in (1, 2)]


def show(model: StableDiffusion, *loras: Any) -> np.ndarray:
    return model.generate("a red apple", steps=2, seed=5, loras=loras)[0].pixels


def digest(network: Any) -> str:
    found = hashlib.sha256()
    for variable in network.variables:
        found.update(np.ascontiguousarray(ops.convert_to_numpy(variable.value)).tobytes())
    return found.hexdigest()


def test_loras_are_seen_without_compiling_and_go_without_a_trace(
    model: StableDiffusion, files: list[str]
) -> None:
    before = show(model)
    digests = [digest(model.diffusion_model), digest(model.text_encoder)]
    programs = [model.parts.evaluate, model.parts.encode_text, model.parts.prepare]
    traces = [getattr(program, "traces", 0) for program in programs]

    one, two = (show(model, (file, 0.8)) for file in files)
    both, turned = show(model, *files), show(model, *files[::-1])
    assert not np.array_equal(one, before)
    assert not np.array_equal(one, two)
    assert np.abs(both.astype(int) - turned).max() <= 1  # sums in another order
    assert np.array_equal(show(model, (files[0], 0)), before)
    assert np.array_equal(show(model, (files[0], 0.8)), one)
    assert np.array_equal(show(model), before)

    assert [digest(model.diffusion_model), digest(model.text_encoder)] == digests
    assert programs == [model.parts.evaluate, model.parts.encode_text, model.parts.prepare]
    if keras.backend.backend() != "openvino":  # whose executables hold the weights
        assert [getattr(program, "traces", 0) for program in programs] == traces


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
            up, down = update.factors["lora_up"], update.factors["lora_down"]
            delta = strength * np.tensordot(up, down.reshape(2, *down.shape[1:]), 1)
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
    model = tiny_model.load(folder)
    layer = model.diffusion_model.down_blocks[0].attentions[0].transformer_blocks[0].ff.net[0].proj
    show(model, files[0])
    layer.kernel.assign(np.zeros(layer.kernel.shape))
    with pytest.warns(UserWarning, match="1 weights were assigned"):
        show(model)
    assert not ops.convert_to_numpy(layer.kernel.value).any()


def test_a_file_that_does_not_fit_leaves_everything_as_it_was(
    model: StableDiffusion, files: list[str], tmp_path: Path
) -> None:
    before = show(model, files[0])
    bad = tmp_path / "bad.safetensors"
    write_safetensors(bad, {f"{PLACE}attn1_to_q.diff": np.zeros((3, 3), "float32")})
    with pytest.raises(ValueError, match="does not fit"):
        show(model, files[1], str(bad))
    assert np.array_equal(show(model, files[0]), before)


def test_parts_and_copies_of_a_model_have_no_lora_in_them(
    folder: Path, files: list[str], tmp_path: Path
) -> None:
    model = tiny_model.load(folder)
    before = show(model)
    show(model, files[0])
    copy = pickle.loads(pickle.dumps(model))
    assert np.array_equal(show(copy), before)
    show(model, files[0])
    model.add_tokens("<cat>", "cat")  # copies the text encoder
    assert np.array_equal(show(model), before)
    show(model, files[0])
    model.diffusion_model = tiny_model.load(folder).diffusion_model
    assert np.array_equal(show(model), before)
    assert not np.array_equal(show(model, files[0]), before)


def test_streams_in_turn_keep_their_own(model: StableDiffusion, files: list[str]) -> None:
    expected = [show(model, file) for file in files]
    streams = [model.stream("a red apple", steps=2, seed=5, loras=(file,)) for file in files]
    made: list[Any] = [None, None]
    for _ in range(3):  # two steps and a picture
        for i, stream in enumerate(streams):
            made[i] = next(stream)
    assert all(np.array_equal(m.pixels, e) for m, e in zip(made, expected, strict=True))
