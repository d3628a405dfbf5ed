"""The recipe from drawings to a picture, on a toy: every stage, stopped and gone on with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recipes.mini import shipped, words
from recipes.mini.config import CONFIGURATIONS, TOY, Training
from recipes.mini.pool import open_pool
from recipes.mini.training import Trainer, averages, rate, start
from sfumato.networks.autoencoder import ImageDecoder, ImageEncoder
from sfumato.networks.configs import TextEncoderConfig
from sfumato.networks.network import keys
from sfumato.networks.text_encoder import TextEncoder
from sfumato.networks.unet import UNet


def run(part: str, backend: str, folder: Path) -> dict[str, Any]:
    """What a part of the recipe found, in a process of its own."""
    here = Path(__file__).parent
    environment = os.environ | {
        "KERAS_BACKEND": backend,
        "OMP_NUM_THREADS": "1",  # maps so small are slower in several threads
        "PYTHONPATH": os.pathsep.join([str(here.parents[1] / "src"), str(here)]),
    }
    command = [sys.executable, str(here / "toy_run.py"), str(folder), part]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return json.loads((folder / "found.json").read_text())


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The stages, on the backend of CPUs."""
    return run("stages", "torch", tmp_path_factory.mktemp("stages"))


def test_the_denoiser_learns(found: dict[str, Any]):
    assert found["learning"]["last"] < 0.8 * found["learning"]["first"]


def test_a_stage_goes_on_from_its_checkpoint(found: dict[str, Any]):
    assert found["learning"]["steps"] == found["learning"]["optimizer_steps"] == 100


def test_the_package_reads_the_export_and_draws(found: dict[str, Any]):
    drawing = found["drawing"]
    assert [name.split("/")[0] for name in drawing["files"]] == ["text_encoder", "unet", "vae"]
    assert drawing["size"] == TOY.size
    assert drawing["words"][:3] == ["the", "and", "with"]
    assert {"ball", "balls", "red", "flat"} < set(drawing["words"])
    assert drawing["prediction"] == "v_prediction"
    assert drawing["shape"] == [2, TOY.size, TOY.size, 3]
    assert drawing["contrast"] > 1


def test_the_exported_weights_are_the_averaged_ones(found: dict[str, Any]):
    assert found["drawing"]["weight_error"] < 2e-3  # float16


def test_the_distilled_denoiser_starts_from_its_teacher_and_learns(found: dict[str, Any]):
    turbo = found["turbo"]
    assert turbo["steps"] == 12
    assert turbo["files"] == ["unet/diffusion_pytorch_model.safetensors"]
    assert turbo["moved"] > 0.9
    assert turbo["distance"] < 0.2


def test_calls_of_limited_length_do_what_is_left(tmp_path: Path):
    """The first call ends all three stages of the toy, so the second has nothing to do.

    On the backend of accelerators, whose machines are there for minutes.
    """
    calling = run("calls", "jax", tmp_path)
    assert calling["calls"] == [["autoencoder.0", "denoiser.0", "turbo.0"], []]
    assert calling["step"] == calling["steps"]


def test_the_judge_knows_renders_from_noise(found: dict[str, Any]):
    assert found["judging"]["renders"] == 1.0
    assert found["judging"]["noise"] < 0.7


class ThreeScenes:
    """Three captions and their latents, in place of composed scenes."""

    latents = np.random.default_rng(0).standard_normal((3, 2, 2, 4)).astype("float32")
    tokens = np.array([[4, 0, 3, 3], [4, 1, 3, 3], [4, 2, 3, 3]], "int32")
    shape = (2, 2, 4)

    def batch(self, random: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = random.integers(3, size=size)
        return self.latents[chosen], self.tokens[chosen]


def test_words_are_learnt_and_the_training_goes_on(tmp_path: Path):
    """On the backend of this process: three captions, three pictures, and a checkpoint between."""
    scenes: Any = ThreeScenes()
    training = Training(60, 8, 1e-2, warmup=1)
    config = replace(TOY, words_training=training)

    def encoder() -> TextEncoder:
        made = TextEncoder(TextEncoderConfig(16, 1, 2, 32, "gelu", vocabulary=5, length=4))
        start(made, 0)
        return made

    first, second = encoder(), encoder()
    for network in (first, second):
        with open_pool(lambda: scenes, training, 0, workers=0) as pool:
            words.teach(network, pool, scenes.shape, config, tmp_path / "words")
    for key, variable in keys(first).items():  # nothing was left to do: the checkpoint's values
        np.testing.assert_array_equal(variable.value, keys(second)[key].value)

    saved = averages(tmp_path / "words" / "checkpoint.npz", "head")
    vectors = np.asarray(second(scenes.tokens))[:, -1]
    guessed = vectors @ saved["weight"] + saved["bias"]
    error = np.mean((guessed - scenes.latents.reshape(3, -1)) ** 2)
    assert error < 0.2 * np.mean(scenes.latents**2)


def trainer(folder: Path, seed: int) -> Trainer:
    decoder = ImageDecoder(TOY.autoencoder)
    start(decoder, seed)
    nothing: Any = None
    return Trainer({"decoder": decoder}, nothing, nothing, TOY.words_training, folder)


def test_weights_alone_travel_in_pieces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(shipped, "PIECE", 10_000)
    first, second = (trainer(tmp_path / str(seed), seed) for seed in range(2))
    first.step = 7
    paths = shipped.write_pieces(tmp_path, "decoder", shipped.weights_of(first))
    assert len(paths) > 1
    assert max(path.stat().st_size for path in paths) <= 10_000
    pieces = shipped.read_pieces(tmp_path, "decoder")
    assert pieces is not None
    assert shipped.give(second, pieces)
    assert second.step == int(second.optimizer.iterations.numpy()) == 7
    np.testing.assert_allclose(first.average, second.average, rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(second.values, second.average)


def test_weights_of_other_networks_are_left_alone(tmp_path: Path):
    made = trainer(tmp_path, 0)
    before = np.asarray(made.values)
    other = {name: np.zeros((1, 2), "float16") for name in made.variables}
    assert not shipped.give(made, other)
    assert not shipped.give(made, {})
    np.testing.assert_array_equal(made.values, before)


def test_the_rate_rises_stays_and_falls():
    training = Training(100, 1, 2.0, warmup=10, decay=0.5)
    values = [rate(training, step, 0.0) for step in (0, 9, 40, 75, 100)]
    np.testing.assert_allclose(values, [0.2, 2.0, 2.0, 1.0, 0.0], rtol=1e-6)


def test_the_rate_falls_when_the_minutes_end():
    training = Training(1000, 1, 2.0, minutes=10, warmup=10, decay=0.5)
    values = [rate(training, 50, seconds) for seconds in (60, 450, 600, 700)]
    np.testing.assert_allclose(values, [2.0, 1.0, 0.0, 0.0], rtol=1e-6)


@pytest.mark.parametrize("config", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_configurations_fit_together(config: Any):
    assert config.unet.in_channels == config.autoencoder.latent_channels
    assert config.unet.context_width == config.text_encoder.width
    assert config.size % config.autoencoder.downsampling == 0
    assert config.caption_length <= config.text_encoder.length == 77


@pytest.mark.parametrize("config", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_the_exported_weights_fit_into_the_package(config: Any):
    """Float16, with int8 embeddings: at most 64 MB."""
    autoencoder = [network(config.autoencoder) for network in (ImageEncoder, ImageDecoder)]
    networks = [UNet(config.unet), TextEncoder(config.text_encoder), *autoencoder]
    table = config.text_encoder.vocabulary * config.text_encoder.width
    twice = UNet(config.unet).count_params()  # the distilled one
    parameters = sum(network.count_params() for network in networks) + twice
    assert 2 * parameters - table < 64e6
