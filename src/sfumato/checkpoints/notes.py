"""What a single file says of its training, in the words of diffusers.

It has no place of its own. Trainers leave empty tensors as marks, write Stability's ModelSpec
(https://github.com/Stability-AI/ModelSpec) into the header, or put a YAML file next to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sfumato.checkpoints.settings import EDM
from sfumato.checkpoints.tensors import CheckpointError, Tensors
from sfumato.presets.families import Prediction

Notes = dict[str, dict[str, Any]]

WORDS: dict[str, Prediction] = {
    **dict.fromkeys(("epsilon", "eps", "noise"), "epsilon"),
    **dict.fromkeys(("v", "v_prediction", "v-prediction", "vpred", "velocity"), "v_prediction"),
    **dict.fromkeys(("sample", "x0"), "sample"),
}
"""The words of other programs for what a denoiser predicts."""

MAX_YAML = 2**16
"""Bytes of a YAML file that are read. Stability's have 2 KB."""
YAML = re.compile(
    r"^[ \t]*(parameterization|linear_start|linear_end|timesteps|scale_factor"
    r"|rescale_betas_zero_snr)[ \t]*:[ \t]*[\"']?([\w.+-]+)",
    re.MULTILINE,
)
SCALINGS = {"EpsScaling": "epsilon", "VScaling": "v_prediction"}
"""Classes of generative-models -> what the denoiser predicts."""


PLAYGROUND: Notes = {
    "scheduler": {"prediction_type": "edm", **EDM},
    "vae": {
        "scaling_factor": 0.5,
        "latents_mean": [-1.6574, 1.886, -1.383, 2.5155],
        "latents_std": [8.4927, 5.9022, 6.5498, 5.2299],
    },
}
"""What Playground 2.5 publishes of itself, the one model whose files have `edm_mean`."""
COSXL = {"sigma_min": 0.002, "sigma_max": 120.0}
"""The noise of CosXL, which its files have as `edm_vpred.sigma_min` and `edm_vpred.sigma_max`."""


def read_notes(file: Path, tensors: Tensors, header: Mapping[str, str]) -> Notes:
    """The settings of "scheduler" and "vae" as marks, header and YAML have them, in this order."""
    scheduler: dict[str, Any] = {}
    vae: dict[str, Any] = {}
    for suffix in (".yaml", ".yml"):
        if (notes := file.with_suffix(suffix)).is_file():
            _read_yaml(notes, scheduler, vae)
    scheduler |= _read_header(file, header)
    if "v_pred" in tensors:
        scheduler["prediction_type"] = "v_prediction"
    if "ztsnr" in tensors:
        scheduler["rescale_betas_zero_snr"] = True
    if "edm_mean" in tensors:
        scheduler |= PLAYGROUND["scheduler"]
        vae |= PLAYGROUND["vae"]
    if any(name.startswith("edm_vpred.") for name in tensors):
        scheduler |= {"prediction_type": "v_prediction", "sigma_data": 1.0}
        scheduler |= {"sigma_schedule": "exponential"}
        scheduler |= {k: _number(f"edm_vpred.{k}", tensors, level) for k, level in COSXL.items()}
    return {part: said for part, said in (("scheduler", scheduler), ("vae", vae)) if said}


def _number(name: str, tensors: Tensors, default: float) -> float:
    """The one number of a tensor, above 0; the default if there is none of that name."""
    values = np.ravel(tensors.get(name, default)).astype("float64")
    if values.size != 1 or not 0 < values[0] < np.inf:
        raise CheckpointError(f"`{name}` must be one number above 0. Received: {values[:4]}")
    return float(values[0])


def _prediction(key: str, word: str, file: Path) -> Prediction:
    if word.lower() not in WORDS:
        raise CheckpointError(
            f"`{key}` must be epsilon, v or sample. Received: {key}={word!r} in `{file}`"
        )
    return WORDS[word.lower()]


def _read_header(file: Path, header: Mapping[str, str]) -> dict[str, Any]:
    """What ModelSpec says in the header of a safetensors file."""
    for key in ("modelspec.prediction_type", "modelspec.predict_key"):  # trainers', ComfyUI's
        if word := header.get(key):
            return {"prediction_type": _prediction(key, str(word), file)}
    architecture = str(header.get("modelspec.architecture", "")).partition("/")[0]
    if architecture.endswith("-v"):  # stable-diffusion-v2-768-v
        return {"prediction_type": "v_prediction"}
    if architecture.startswith("stable-diffusion-v2"):  # stable-diffusion-v2-512
        return {"prediction_type": "epsilon"}
    return {}


def _read_yaml(file: Path, scheduler: dict[str, Any], vae: dict[str, Any]) -> None:
    """What CompVis' or generative-models' YAML says; the first of a name is the model's own."""
    with file.open("rb") as stream:
        text = stream.read(MAX_YAML).decode("utf-8", "replace")
    said = dict(reversed(YAML.findall(text)))
    scaling = re.search(r"denoiser_scaling\.(\w+)", text)
    try:
        if scaling:
            if scaling[1] not in SCALINGS:
                raise ValueError(f"the noise levels of {scaling[1]} are not computed")
            scheduler["prediction_type"] = SCALINGS[scaling[1]]
        elif "parameterization" in said:
            word = said["parameterization"]
            scheduler["prediction_type"] = _prediction("parameterization", word, file)
        elif "linear_start" in said:  # CompVis' default
            scheduler["prediction_type"] = "epsilon"
        for theirs, ours in (("linear_start", "beta_start"), ("linear_end", "beta_end")):
            if theirs in said:
                scheduler[ours] = float(said[theirs])
        if said.get("rescale_betas_zero_snr", "").lower() == "true":
            scheduler["rescale_betas_zero_snr"] = True
        if "timesteps" in said:
            scheduler["num_train_timesteps"] = int(said["timesteps"])
        if "scale_factor" in said:
            vae["scaling_factor"] = float(said["scale_factor"])
    except ValueError as error:
        raise CheckpointError(f"`{file}` is not the configuration of a model: {error}.") from error


def looks_like_velocity(unet: Tensors) -> bool:
    """Whether a U-Net of 2.x predicts the velocity by the spread of its last attention's norm.

    ComfyUI's measure. The models for 768 pixels have more than 0.09 there, the others less; those
    for inpainting predict the noise.
    """
    names = [name for name in unet if re.fullmatch(r"up_blocks\.\d+\.attentions\.\d+\..*", name)]
    ends = [name for name in names if name.endswith("transformer_blocks.0.norm1.bias")]
    if not ends or unet["conv_in.weight"].shape[1] != unet["conv_out.weight"].shape[0]:
        return False
    last = max(ends, key=lambda name: [*map(int, re.findall(r"\d+", name))])
    return float(np.std(unet[last].astype("float32"))) > 0.09
