"""Pictures by another autoencoder: what comes out, previews, and what the request says of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from keras import ops

import tiny_model
from sfumato import Request, StableDiffusion
from sfumato.checkpoints.safetensors import write_safetensors
from sfumato.checkpoints.save import export
from sfumato.cli import main
from sfumato.generation import Step
from sfumato.networks.configs import TinyAutoencoderConfig
from sfumato.networks.tiny import TinyImageDecoder
from sfumato.picture import Picture
from sfumato.pictures import load
from sfumato.request import RequestError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.save(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def file(folder: Path) -> Path:
    decoder = tiny_model.drawn(TinyImageDecoder(TinyAutoencoderConfig(8)))
    write_safetensors(folder.parent / "small.safetensors", export(decoder))
    return folder.parent / "small.safetensors"


def test_pictures_and_previews(folder: Path, file: Path) -> None:
    model = StableDiffusion(32, 32, preset=str(folder), decoder=str(file))
    made = [*model.stream("a red apple", steps=2, seed=5)]
    steps = [each for each in made if isinstance(each, Step)]
    pictures = [each for each in made if isinstance(each, Picture)]
    latents = steps[-1].latents()  # after the last step what is seen is what comes out
    wanted = ops.convert_to_numpy(model.decoder(latents)) * 127.5 + 127.5
    for picture, expected in zip(pictures, wanted, strict=True):
        assert np.abs(picture.pixels - expected.clip(0, 255)).max() < 1
    np.testing.assert_array_equal(steps[-1].preview(), [each.pixels for each in pictures])

    request = pictures[0].request
    assert request.decoder == "small.safetensors"
    assert request.recipe().items["VAE"] == "small.safetensors"
    again = model.generate(Request(prompt="a red apple", decoder=str(file)), steps=2, seed=5)
    np.testing.assert_array_equal(again[0].pixels, pictures[0].pixels)
    with pytest.raises(RequestError, match="`decoder` must be that of the loaded model"):
        model.generate("a red apple", decoder="tiny")


def test_the_command_line(
    folder: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--steps", "2", "--size", "32x32", "-o", str(tmp_path), "-q"]
    command = ["generate", "a red apple", "--model", str(folder), "--seed", "5", *out]
    assert main([*command, "--decoder", str(file)]) == 0
    (path,) = capsys.readouterr().out.split()

    # Its recipe has the name alone: it is not here, so the picture is the model's own decoder's.
    assert main(["generate", "--from", path, "--model", str(folder), *out[2:]]) == 0
    output = capsys.readouterr()
    assert "VAE small.safetensors" in output.err
    other = load(output.out.split()[0])
    assert np.abs(load(path).astype(int) - other).max() > 10
    wanted = tiny_model.paint(tiny_model.load(folder), prompt_syntax="a1111")
    assert np.abs(other.astype(int) - wanted).max() <= 1
