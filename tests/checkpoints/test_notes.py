"""What a single file, its header and a YAML next to it say of the training."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models

from sfumato.checkpoints import CheckpointError, open_checkpoint
from sfumato.checkpoints.safetensors import write_safetensors

V = "v_prediction"


def opened(path, family="xl", marks=(), header=None, yaml=None):
    tensors = tiny_models.to_compvis(family) | {name: np.zeros(0, "float32") for name in marks}
    write_safetensors(path / "model.safetensors", tensors, header)
    if yaml is not None:
        (path / "model.yaml").write_text(yaml)
    return open_checkpoint(path / "model.safetensors")


@pytest.mark.parametrize(
    ("family", "header", "prediction"),
    [
        ("xl", {"modelspec.prediction_type": "v"}, V),
        ("xl", {"modelspec.prediction_type": "v_prediction"}, V),
        ("1.x", {"modelspec.prediction_type": "V"}, V),
        ("2.x", {"modelspec.prediction_type": "epsilon"}, "epsilon"),
        ("xl", {"modelspec.predict_key": "v"}, V),
        ("2.x", {"modelspec.architecture": "stable-diffusion-v2-768-v"}, V),
        ("2.x", {"modelspec.architecture": "stable-diffusion-v2-512"}, "epsilon"),
        ("2.x", {"modelspec.architecture": "stable-diffusion-v2-768-v/sd-scripts"}, V),
        ("xl", {"modelspec.architecture": "stable-diffusion-xl-v1-base"}, "epsilon"),
        ("2.x", {"modelspec.title": "nothing"}, None),
    ],
)
def test_the_header(tmp_path, family, header, prediction):
    assert opened(tmp_path, family, header=header).prediction == prediction


@pytest.mark.parametrize("word", ["rectified_flow", "?"])
def test_another_prediction_in_the_header_is_refused(tmp_path, word):
    with pytest.raises(CheckpointError, match=r"`modelspec.prediction_type` must be epsilon, v"):
        opened(tmp_path, header={"modelspec.prediction_type": word})


LDM = """model:
  target: ldm.models.diffusion.ddpm.LatentDiffusion
  params:
    {}linear_start: 0.001  # of the first step
    linear_end: 0.0120
    timesteps: 500
    scale_factor: 0.2
    low_scale_config:
      params:
        linear_start: 0.5
"""
SGM = (
    "        scaling_config:\n          target: sgm.modules.diffusionmodules.denoiser_scaling.{}\n"
)


@pytest.mark.parametrize(
    ("yaml", "prediction"),
    [
        (LDM.format('parameterization: "v"\n    '), V),
        (LDM.format("parameterization: eps\n    "), "epsilon"),
        (LDM.format("parameterization: 'x0'\n    "), "sample"),
        (LDM.format(""), "epsilon"),
        (SGM.format("VScaling"), V),
        (SGM.format("EpsScaling"), "epsilon"),
        ("nothing: to see", None),
    ],
)
def test_the_yaml_next_to_the_file(tmp_path, yaml, prediction):
    checkpoint = opened(tmp_path, "2.x", yaml=yaml)
    assert checkpoint.prediction == prediction
    if "LatentDiffusion" in yaml:
        noise = {"beta_start": 0.001, "beta_end": 0.012, "num_train_timesteps": 500}
        assert checkpoint.settings["scheduler"].items() >= noise.items()
        assert checkpoint.autoencoder_config().scaling_factor == 0.2


@pytest.mark.parametrize(
    "yaml", ["  linear_start: x\n", SGM.format("VScalingWithEDMcNoise"), "  parameterization: w\n"]
)
def test_a_yaml_of_something_else_is_named(tmp_path, yaml):
    with pytest.raises(CheckpointError, match=r"model\.yaml"):
        opened(tmp_path, yaml=yaml)


def test_marks_come_before_the_header_and_the_header_before_the_yaml(tmp_path):
    header = {"modelspec.prediction_type": "epsilon"}
    yaml = "  parameterization: v\n"
    assert opened(tmp_path, header=header, yaml=yaml).prediction == "epsilon"
    assert opened(tmp_path, marks=["v_pred"], header=header).prediction == V


def test_an_xl_model_whose_marks_are_lost_has_them_from_the_yaml(tmp_path):
    yaml = "  parameterization: v\n  rescale_betas_zero_snr: true\n"
    checkpoint = opened(tmp_path, yaml=yaml)
    marked = opened(tmp_path, marks=["v_pred", "ztsnr"], yaml="nothing: true")
    assert checkpoint.prediction == marked.prediction == V
    assert checkpoint.settings["scheduler"] == marked.settings["scheduler"]
    assert opened(tmp_path, yaml="rescale_betas_zero_snr: false").prediction == "epsilon"
