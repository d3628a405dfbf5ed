"""Another autoencoder in place of a model's own."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

import tiny_model
from sfumato.checkpoints import CheckpointError, open_model, save_diffusers
from sfumato.checkpoints.safetensors import write_safetensors
from sfumato.checkpoints.save import export
from sfumato.checkpoints.settings import COMPUTED
from sfumato.networks.autoencoder import ImageDecoder, ImageEncoder
from sfumato.networks.configs import AutoencoderConfig, TinyAutoencoderConfig
from sfumato.networks.tiny import TinyImageDecoder, TinyImageEncoder

TINY = TinyAutoencoderConfig(8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.save(tmp_path_factory.mktemp("tiny") / "model")


def write(folder: Path, stem: str, config: TinyAutoencoderConfig = TINY, seed: int = 0) -> Path:
    """The two files of a tiny autoencoder, as its author names them."""
    halves = {"encoder": TinyImageEncoder, "decoder": TinyImageDecoder}
    for half, kind in halves.items():
        tensors = export(tiny_model.drawn(kind(config), seed))
        names = {name: name.split(".", 3) for name in tensors}
        step = int(half == "decoder")
        file = {f"{int(n) + step}.{rest}": tensors[name] for name, (*_, n, rest) in names.items()}
        write_safetensors(folder / f"{stem}_{half}.safetensors", file)
    return folder


def test_a_folder_has_the_familys_halves(folder: Path, tmp_path: Path) -> None:
    write(tmp_path, "taesd")
    write(tmp_path, "taesdxl", seed=1)
    model = open_model(folder, decoder=tmp_path)
    assert isinstance(model.decoder(), TinyImageDecoder)
    assert isinstance(model.image_encoder(), TinyImageEncoder)
    assert (model.decoder_name, model.autoencoder_config) == (tmp_path.name, TINY)
    wanted = tiny_model.drawn(TinyImageDecoder(TINY)).decoder.layers[0].kernel.numpy()
    np.testing.assert_array_equal(model.decoder().decoder.layers[0].kernel.numpy(), wanted)


def test_a_file_of_one_half_leaves_the_other(folder: Path, tmp_path: Path) -> None:
    write(tmp_path, "mine")
    model = open_model(folder, decoder=tmp_path / "mine_decoder.safetensors")
    assert isinstance(model.decoder(), TinyImageDecoder)
    encoder = model.image_encoder()
    assert isinstance(encoder, ImageEncoder)
    assert encoder.config == tiny_model.VAE
    assert pickle.loads(pickle.dumps(model)).autoencoder_config == TINY


def test_a_full_autoencoder(folder: Path, tmp_path: Path) -> None:
    other = AutoencoderConfig((8, 8, 8, 16), 1, groups=4)
    parts = [tiny_model.drawn(kind(other)) for kind in (ImageEncoder, ImageDecoder)]
    save_diffusers(tmp_path, {"vae": parts}, dtype="float32")
    model = open_model(folder, decoder=tmp_path / "vae")
    assert model.autoencoder_config == other
    assert model.decoder_name == "vae"

    # A file by itself does not say its groups and its scaling: those are the usual ones.
    write_safetensors(
        tmp_path / "vae.safetensors",
        export(tiny_model.drawn(ImageDecoder(AutoencoderConfig((32,) * 4, 1)))),
    )
    for path in (tmp_path / "vae.safetensors", tmp_path / "alone"):
        if path.name == "alone":  # as the Hub's client leaves a repository with one file
            path.mkdir()
            shutil.copy(tmp_path / "vae.safetensors", path)
        model = open_model(folder, decoder=path)
        assert model.autoencoder_config.scaling_factor == 0.18215

    config = tmp_path / "vae/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"scaling_factor": 0.13025}))
    with pytest.raises(CheckpointError, match=r"latents scaled by 0\.18215.*one for 0\.13025"):
        open_model(folder, decoder=tmp_path / "vae")


def test_what_is_for_other_latents_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    write(tmp_path, "taesd3", TinyAutoencoderConfig(8, latent_channels=16))
    with pytest.raises(CheckpointError, match=r"16 channels.*Stable Diffusion 3 and Flux \(taesd3"):
        open_model(folder, decoder=tmp_path / "taesd3_decoder.safetensors")
    with pytest.raises(CheckpointError, match="holds no autoencoder. It holds: .'unet'"):
        open_model(folder, decoder=folder / "unet")
    with pytest.raises(CheckpointError, match=r"latents have 16 channels.*decoder='tiny'"):
        open_model("mini", decoder="tiny")


def test_the_familys_own_is_looked_for_on_the_hub(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"madebyollin/taesd, which is not here. Looked in"):
        open_model(folder, decoder="tiny", offline=True)
    with pytest.raises(ValueError, match="`decoder` must be 'tiny', a file, a folder or a repo"):
        open_model(folder, decoder="no such file.pth")


def test_settings_of_a_tiny_autoencoder_are_checked(folder: Path, tmp_path: Path) -> None:
    both = {}
    for kind in (TinyImageEncoder, TinyImageDecoder):
        both |= export(tiny_model.drawn(kind(TINY)))
    write_safetensors(tmp_path / "diffusion_pytorch_model.safetensors", both)
    said = {"_class_name": "AutoencoderTiny", "scaling_factor": 0.5}
    config = tmp_path / "config.json"
    config.write_text(json.dumps(said))
    assert open_model(folder, decoder=tmp_path).autoencoder_config.scaling_factor == 0.5
    blocks = {"num_decoder_blocks": [3, 3, 3, 3], "encoder_block_out_channels": [64] * 4}
    computed = dict.fromkeys(COMPUTED["tiny"], "another")
    for key, value in {**computed, **blocks, "_class_name": "AutoencoderKL"}.items():
        config.write_text(json.dumps(said | {key: value}))
        with pytest.raises(CheckpointError, match=f"`{key}` must be"):
            open_model(folder, decoder=tmp_path)


def test_the_settings_of_one_kind_are_not_the_others(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "vae", tmp_path / "vae")
    (tmp_path / "vae/config.json").write_text(json.dumps({"_class_name": "AutoencoderTiny"}))
    with pytest.raises(CheckpointError, match="`_class_name` must be 'AutoencoderKL', as the ten"):
        open_model(folder, decoder=tmp_path / "vae")


def test_a_model_whose_own_autoencoder_is_tiny(folder: Path, tmp_path: Path) -> None:
    """As SDXS has it; a full one may take its place, scaled as its family's."""
    shutil.copytree(folder, tmp_path / "model")
    vae = tmp_path / "model/vae"
    both = {}
    for kind in (TinyImageEncoder, TinyImageDecoder):
        both |= export(tiny_model.drawn(kind(TINY)))
    write_safetensors(vae / "diffusion_pytorch_model.safetensors", both)
    (vae / "config.json").write_text(json.dumps({"_class_name": "AutoencoderTiny"}))
    assert open_model(tmp_path / "model").autoencoder_config == TINY
    model = open_model(tmp_path / "model", decoder=folder / "vae")
    assert model.autoencoder_config == tiny_model.VAE
