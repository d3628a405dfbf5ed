"""A file is checked when it is opened: names, shapes, and inputs that no picture has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny_models

from sfumato.checkpoints import CheckpointError, layout, open_checkpoint, save_diffusers
from sfumato.checkpoints.safetensors import read_safetensors, write_safetensors
from sfumato.networks.unet import UNet

NAMES = {
    "unet": ("unet",),
    "vae": ("image_encoder", "decoder"),
    "text_encoder": ("text_encoder",),
    "text_encoder_2": ("text_encoder",),
}


def flat(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:2] if shape[2:] == (1, 1) else shape


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_the_layout_is_that_of_the_networks(family):
    for part, networks in tiny_models.networks(family).items():
        for name, network in zip(NAMES[part], networks, strict=True):
            found = dict(getattr(layout, name)(network.config))
            assert found == {k: flat(t.shape) for k, t in tiny_models.export(network).items()}


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_what_does_not_fit_is_found_when_the_folder_is_opened(tmp_path, part):
    save_diffusers(tmp_path, tiny_models.networks("1.x"))
    (file,) = (tmp_path / part).glob("*.safetensors")
    tensors = {name: np.array(tensor) for name, tensor in read_safetensors(file).items()}
    bias = next(name for name in reversed(tensors) if name.endswith(".bias"))
    without = {name: tensor for name, tensor in tensors.items() if name != bias}
    short = bias.removeprefix("text_model.")
    for changed, message in (
        (without, f"missing: {short}"),
        (tensors | {"more.weight": np.zeros(3)}, r"unexpected: more\.weight"),
        (tensors | {bias: tensors[bias][1:]}, rf"misshapen: {short} .* instead of"),
    ):
        write_safetensors(file, changed)
        with pytest.raises(CheckpointError, match=message) as error:
            open_checkpoint(tmp_path)
        assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    ("channels", "what"), [(5, "depth"), (7, "upscaler"), (12, "something else")]
)
def test_unets_with_other_inputs_are_refused_with_their_number(tmp_path, channels, what):
    unet = UNet(replace(tiny_models.UNETS["1.x"], in_channels=channels))
    unet.initialize(0)
    save_diffusers(tmp_path, {**tiny_models.networks("1.x"), "unet": unet})
    with pytest.raises(
        CheckpointError, match=rf"{what}.*4 input channels, .* or 9 .* has {channels}"
    ):
        open_checkpoint(tmp_path)
