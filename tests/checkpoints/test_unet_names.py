"""The names of a U-Net's layers in every format, all from its configuration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny_models
from test_architecture import UNETS

from sfumato.checkpoints import CheckpointError
from sfumato.checkpoints.compvis import from_compvis, unet_names, unet_structure
from sfumato.checkpoints.save import file_shapes
from sfumato.networks.configs import UNetConfig
from sfumato.networks.unet import UNet

CONFIGS = {name: config for name, (_, config) in UNETS.items()}
CONFIGS["tiny XL"] = tiny_models.UNETS["xl"]


@pytest.fixture(scope="module")
def shapes() -> dict[str, dict[str, tuple[int, ...]]]:
    """Of every configuration, the tensors of its network by native name."""
    return {name: file_shapes(UNet(config, "float16")) for name, config in CONFIGS.items()}


@pytest.mark.parametrize("name", CONFIGS)
def test_every_layer_of_the_network_has_its_name(name, shapes):
    names = unet_names(CONFIGS[name])
    natives = {native.rpartition(".")[0] for native in shapes[name]}
    if not CONFIGS[name].added_width:
        natives |= {"add_embedding.linear_1", "add_embedding.linear_2"}  # in every table
    assert set(names.values()) == natives
    assert len(names) == len(natives)  # so that it can be turned around


@pytest.mark.parametrize("name", CONFIGS)
def test_compvis_names_as_written_by_hand(name, shapes):
    config = CONFIGS[name]
    theirs = {native: compvis for compvis, native in unet_names(config).items()}
    for native in shapes[name]:
        stem, _, leaf = native.rpartition(".")
        assert f"{theirs[stem]}.{leaf}" == tiny_models._unet_name(native, config)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_structure_is_read_from_compvis_names(name, shapes):
    config = CONFIGS[name]
    theirs = {native: compvis for compvis, native in unet_names(config).items()}
    file = {}
    for native, shape in shapes[name].items():
        stem, _, leaf = native.rpartition(".")
        file[f"{theirs[stem]}.{leaf}"] = shape
    found = unet_structure(file)
    for field in ("channels", "down", "mid", "up"):
        assert getattr(found, field) == getattr(config, field)


def test_the_path_of_some_layers_as_known_from_published_files():
    names = unet_names(UNetConfig())
    attention = "transformer_blocks.0.attn1.to_q"
    assert names[f"input_blocks.4.1.{attention}"] == f"down_blocks.1.attentions.0.{attention}"
    assert names[f"middle_block.1.{attention}"] == f"mid_block.attentions.0.{attention}"
    assert names["input_blocks.3.0.op"] == "down_blocks.0.downsamplers.0.conv"
    assert names["output_blocks.2.1.conv"] == "up_blocks.0.upsamplers.0.conv"
    assert names["output_blocks.11.0.skip_connection"] == "up_blocks.3.resnets.2.conv_shortcut"
    xl = unet_names(CONFIGS["xl"])
    last = "transformer_blocks.9.ff.net.2"
    assert xl[f"output_blocks.1.1.{last}"] == f"up_blocks.0.attentions.1.{last}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"up": ((0, 0, 0), (1, 1, 1), (1, 1, 1))}, "an item for each of `channels`"),
        ({"up": ((0, 0), (1, 1, 1), (1, 1, 1), (1, 1, 1))}, "a block for each skip connection"),
        ({"heads": (8,)}, "an item for each"),
        ({"added_width": 1536}, "larger than 6 times `size_embedding`"),
    ],
)
def test_a_configuration_that_does_not_fit_together_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(UNetConfig(), **change)


def test_a_file_that_is_no_u_is_refused():
    file = tiny_models.to_compvis("1.x")
    block = "model.diffusion_model.output_blocks.5."
    damaged = {name: tensor for name, tensor in file.items() if not name.startswith(block)}
    with pytest.raises(CheckpointError, match=r"does not fit together.*skip connection"):
        from_compvis(damaged)
    for name in ("input_blocks.0.1.transformer_blocks.0.x", "middle_block.0.conv.weight", "x"):
        with pytest.raises(CheckpointError):
            from_compvis({f"model.diffusion_model.{name}": np.zeros(1)})


def test_a_tensor_under_two_names_is_refused():
    file = tiny_models.to_compvis("1.x")
    file["model.diffusion_model.conv_in.weight"] = np.zeros(1)
    with pytest.raises(CheckpointError, match="under two names"):
        from_compvis(file)
