"""The settings of a folder's parts: a part, a key, and the values that are computed.

diffusers and transformers obey every key of a ``config.json``, and most leave no trace in the
shapes of the weights. What Sfumato computes otherwise is refused by name, not passed over. A key
that no class of theirs knows is a comment.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sfumato.checkpoints.tensors import CheckpointError

Settings = Mapping[str, Any]

COMPUTED: dict[str, dict[str, tuple[Any, ...]]] = {
    "unet": {
        "_class_name": ("UNet2DConditionModel",),
        "act_fn": ("silu", "swish"),
        "attention_type": ("default",),
        "center_input_sample": (False,),
        "class_embed_type": (None,),
        "class_embeddings_concat": (False,),
        "conv_in_kernel": (3,),
        "conv_out_kernel": (3,),
        "cross_attention_norm": (None,),
        "downsample_padding": (1,),
        "dual_cross_attention": (False,),
        "encoder_hid_dim": (None,),
        "encoder_hid_dim_type": (None,),
        "flip_sin_to_cos": (True,),
        "freq_shift": (0,),
        "mid_block_only_cross_attention": (None, False),
        "mid_block_scale_factor": (1,),
        "norm_eps": (1e-5,),
        "num_attention_heads": (None,),  # the other key has the heads, in spite of its name
        "num_class_embeds": (None,),
        "only_cross_attention": (False,),
        "quantization_config": (None,),
        "resnet_out_scale_factor": (1,),
        "resnet_skip_time_act": (False,),
        "resnet_time_scale_shift": ("default",),
        "time_embedding_act_fn": (None,),
        "time_embedding_type": ("positional",),
        "timestep_post_act": (None,),
    },
    "vae": {
        "_class_name": ("AutoencoderKL",),  # or that of "tiny"
        "act_fn": ("silu", "swish"),
        "in_channels": (3,),
        "mid_block_add_attention": (True,),
        "out_channels": (3,),
        "quantization_config": (None,),
        "shift_factor": (None, 0),
        "use_post_quant_conv": (True,),
        "use_quant_conv": (True,),
    },
    "tiny": {
        "_class_name": ("AutoencoderTiny",),
        "act_fn": ("relu",),
        "in_channels": (3,),
        "out_channels": (3,),
        "quantization_config": (None,),
        "shift_factor": (None, 0),
        "upsample_fn": ("nearest",),
        "upsampling_scaling_factor": (2,),
    },
    "text_encoder": {
        "architectures": (None, "CLIPTextModel", "CLIPTextModelWithProjection"),
        "hidden_act": ("quick_gelu", "gelu"),
        "layer_norm_eps": (1e-5,),
        "model_type": ("clip_text_model",),
        "quantization_config": (None,),
    },
    "vision": {
        "architectures": (None, "CLIPVisionModelWithProjection"),
        "hidden_act": ("quick_gelu", "gelu"),
        "layer_norm_eps": (1e-5,),
        "model_type": ("clip_vision_model",),
        "num_channels": (3,),
        "quantization_config": (None,),
    },
    "scheduler": {
        "beta_schedule": ("scaled_linear", "linear", "squaredcos_cap_v2"),
        "prediction_type": ("epsilon", "v_prediction", "sample", "edm"),
        "sigma_schedule": (None, "karras", "exponential"),
        "thresholding": (False,),
        "timestep_type": ("discrete",),
        "trained_betas": (None,),
        "use_dynamic_shifting": (False,),
        "use_flow_sigmas": (False,),
        "variance_type": (None, "fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log"),
    },
    "tokenizer": {
        "tokenizer_class": (
            *(None, "CLIPTokenizer", "CLIPTokenizerFast"),
            *(
                "PreTrainedTokenizerFast",
                "TokenizersBackend",
            ),  # of tokenizer.json, whose form counts
        ),
    },
    "index": {},
}
COMPUTED["controlnet"] = COMPUTED["unet"] | {
    "_class_name": ("ControlNetModel", "ControlNetUnionModel", "ControlNetModel_Union"),
}
"""Whatever else a file says of these keys is refused. Of a list, every item counts."""

DEFAULTS: dict[str, dict[str, Any]] = {
    "unet": {
        "addition_embed_type": None,
        "attention_head_dim": 8,
        "block_out_channels": [320, 640, 1280, 1280],
        "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
        "layers_per_block": 2,
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "norm_num_groups": 32,
        "time_cond_proj_dim": None,
        "transformer_layers_per_block": 1,
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    },
    "vae": {
        "block_out_channels": [64],
        "down_block_types": ["DownEncoderBlock2D"],
        "layers_per_block": 1,
        "norm_num_groups": 32,
        "scaling_factor": 0.18215,
        "up_block_types": ["UpDecoderBlock2D"],
    },
    "tiny": {"scaling_factor": 1.0},
    "text_encoder": {"hidden_act": "quick_gelu", "num_attention_heads": 8, "num_hidden_layers": 12},
    "vision": {"hidden_act": "quick_gelu", "num_attention_heads": 12},
}
DEFAULTS["controlnet"] = {k: v for k, v in DEFAULTS["unet"].items() if not k.startswith("up_")}
"""What diffusers and transformers take where a ``config.json`` leaves a key out."""

_LINEAR = {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear"}
_LATENT = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "linear"}
_SCALED = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}

EDM = {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5, "sigma_schedule": "karras"}
"""The noise of EDM (Karras et al. 2022, arXiv 2206.00364), which diffusers' classes default to."""

SCHEDULERS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(
        (
            *("DDIMParallelScheduler", "DDIMScheduler", "DDPMParallelScheduler", "DDPMScheduler"),
            *("DEISMultistepScheduler", "DPMSolverMultistepScheduler"),
            *("DPMSolverSinglestepScheduler", "EulerAncestralDiscreteScheduler"),
            *("EulerDiscreteScheduler", "LMSDiscreteScheduler", "PNDMScheduler"),
            *("SASolverScheduler", "UniPCMultistepScheduler"),
        ),
        _LINEAR,
    ),
    **dict.fromkeys(
        (
            *("DPMSolverSDEScheduler", "HeunDiscreteScheduler"),
            *("KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler"),
        ),
        _LATENT,
    ),
    **dict.fromkeys(("LCMScheduler", "TCDScheduler"), _SCALED),
    **dict.fromkeys(("EDMDPMSolverMultistepScheduler", "EDMEulerScheduler"), EDM),
}
"""The classes whose training noise is ours, and the noise that each takes where none is stated.

How a class samples is another matter: the request says that.
"""


def checked(part: str, settings: Settings, file: Path) -> dict[str, Any]:
    """The settings of a part, and what diffusers takes for those that are left out.

    Args:
        part: one of ``COMPUTED``, or "text_encoder_2".
        settings: the content of ``file``; empty: there is no such file, and nothing is filled in.

    Raises:
        CheckpointError: the file asks for what Sfumato does not compute.
    """
    kind = part.removesuffix("_2")
    if part == "vae" and settings.get("_class_name") in COMPUTED["tiny"]["_class_name"]:
        kind = "tiny"
    for key, values in COMPUTED[kind].items():
        said = settings.get(key, values[0])
        items = said if isinstance(said, list) else [said]
        if not all(item in values for item in items):
            raise refusal(key, " or ".join(map(repr, values)), said, file)
    if not settings:
        return {}
    # null means the default, except where it means that there is none
    stated = {k: v for k, v in settings.items() if v is not None or k == "mid_block_type"}
    if kind == "scheduler":
        name = settings.get("_class_name", "DDIMScheduler")
        check_scheduler("_class_name", name, file)
        found = {"prediction_type": "epsilon"} | SCHEDULERS[name] | stated
        if name.startswith("EDM") and found["prediction_type"] == "epsilon":
            found["prediction_type"] = "edm"
        return found
    return DEFAULTS.get(kind, {}) | stated


def check_scheduler(key: str, name: Any, file: Path) -> None:
    """Refuse the class of a scheduler whose training noise is not ours."""
    if str(name) not in SCHEDULERS:
        must = "a scheduler of discrete noise levels or EDM's; those of flow matching are not used"
        raise refusal(key, must, name, file)


def latent_statistics(settings: Settings, channels: int) -> dict[str, tuple[float, ...]]:
    """The mean and deviation of each channel of the latents, if they are stated."""
    found: dict[str, tuple[float, ...]] = {}
    for key in ("latents_mean", "latents_std"):
        said = settings.get(key)
        found[key] = tuple(map(float, said)) if isinstance(said, (list, tuple)) else ()
        if said is not None and len(found[key]) != channels:
            raise CheckpointError(
                f"`{key}` must be {channels} numbers, one for each channel of the latents. "
                f"Received: {key}={said!r}"
            )
    if bool(found["latents_mean"]) != bool(found["latents_std"]) or 0 in found["latents_std"]:
        raise CheckpointError(
            "`latents_mean` and `latents_std` must be given together, and no deviation be 0. "
            f"Received: {found}"
        )
    return found


def refusal(key: str, must: str, said: Any, file: Path) -> CheckpointError:
    """The error for a setting that is not computed."""
    shown = repr(said) if len(repr(said)) < 100 else f"{repr(said)[:100]} ..."
    return CheckpointError(f"`{key}` must be {must}. Received: {key}={shown} in `{file}`")
