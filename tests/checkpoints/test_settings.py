"""What a folder's JSON says is computed, or refused by name; diffusers and transformers judge."""

from __future__ import annotations

import inspect
import json
from dataclasses import replace

import diffusers
import numpy as np
import pytest
import tiny_models
import torch
from transformers import CLIPTextConfig, CLIPTextModel

from sfumato.checkpoints import CheckpointError, open_checkpoint, open_model, save_diffusers
from sfumato.checkpoints.settings import COMPUTED, DEFAULTS, SCHEDULERS, checked
from sfumato.diffusion.schedules import BETA_SCHEDULES, training_sigmas

NAMES = {
    "scheduler": "scheduler_config.json",
    "tokenizer": "tokenizer_config.json",
    "index": "model_index.json",
}

# Keys that any value may have, and why.
SHAPES = "in_channels out_channels cross_attention_dim use_linear_projection latent_channels "
SHAPES += "projection_class_embeddings_input_dim time_embedding_dim vocab_size hidden_size "
SHAPES += "intermediate_size projection_dim max_position_embeddings"
READ = "sample_size addition_time_embed_dim reverse_transformer_layers_per_block scaling_factor "
READ += "num_train_timesteps beta_start beta_end rescale_betas_zero_snr latents_mean latents_std "
READ += "sigma_data"
NO_EFFECT = "dropout upcast_attention addition_embed_type_num_heads force_upcast attention_dropout "
NO_EFFECT += "initializer_range initializer_factor pad_token_id bos_token_id eos_token_id"
SAMPLING = (  # the request says these, whatever the scheduler's file
    "algorithm_type clip_sample clip_sample_range disable_corrector dynamic_thresholding_ratio "
    "euler_at_final final_sigmas_type flow_shift interpolation_type lambda_min_clipped "
    "lower_order_final noise_sampler_seed original_inference_steps predict_x0 sample_max_value "
    "set_alpha_to_one shift_terminal sigma_max sigma_min skip_prk_steps solver_order solver_p "
    "solver_type steps_offset time_shift_type timestep_scaling timestep_spacing "
    "use_beta_sigmas use_exponential_sigmas use_karras_sigmas use_lu_lambdas "
    "corrector_order predictor_order tau_func shift rho"
)
FREE = set(f"{SHAPES} {READ} {NO_EFFECT} {SAMPLING}".split())


def parameters(judge) -> dict[str, object]:
    found = inspect.signature(judge).parameters.values()
    return {
        each.name: each.default
        for each in found
        if each.kind is not each.VAR_KEYWORD and each.name != "self"
    }


@pytest.fixture
def folder(tmp_path):
    save_diffusers(tmp_path, tiny_models.networks("2.x"))
    return tmp_path


def edit(folder, part: str, **changes: object) -> None:
    """Change keys of a part's file; Ellipsis removes the key."""
    name = NAMES.get(part, "config.json")
    path = folder / name if part == "index" else folder / part / name
    path.parent.mkdir(exist_ok=True)
    said = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({k: v for k, v in (said | changes).items() if v is not ...}))


@pytest.mark.parametrize(
    ("part", "judge"),
    [
        ("unet", diffusers.UNet2DConditionModel),
        ("vae", diffusers.AutoencoderKL),
        *(("scheduler", getattr(diffusers, name)) for name in SCHEDULERS if "SDE" not in name),
    ],
)
def test_the_table_has_every_key_that_the_class_obeys_and_its_own_values(part, judge):
    own = parameters(judge.__init__)
    assert not own.keys() - COMPUTED[part].keys() - DEFAULTS.get(part, {}).keys() - FREE
    for key, default in own.items():
        if key in DEFAULTS.get(part, {}):
            same = list(default) if isinstance(default, tuple) else default
            assert DEFAULTS[part][key] == same, key
        elif key in COMPUTED[part] and key != "beta_schedule":
            assert default in COMPUTED[part][key], key
    if part == "scheduler":
        betas = SCHEDULERS[judge.__name__]
        assert betas == {key: own[key] for key in betas}


ELSEWHERE = ("controlnet", "vision")  # files of adapters
FOLDERS = [part for part in COMPUTED if part not in ("tiny", *ELSEWHERE)]  # "tiny" is in "vae"


def test_the_table_has_every_key_of_the_text_encoder():
    config = CLIPTextConfig()
    own = {*vars(config), *(each for each in parameters(CLIPTextConfig))}
    general = {*vars(CLIPTextConfig.__bases__[0]()), *parameters(CLIPTextConfig.__bases__[0])}
    known = COMPUTED["text_encoder"].keys() | DEFAULTS["text_encoder"].keys() | FREE
    assert not own - general - known
    for key, value in DEFAULTS["text_encoder"].items():
        assert getattr(config, key) == value
    assert COMPUTED["scheduler"]["beta_schedule"] == BETA_SCHEDULES


@pytest.mark.parametrize("part", FOLDERS)
def test_every_other_value_is_refused_by_name(folder, part):
    for key, values in COMPUTED[part].items():
        other = not values[0] if isinstance(values[0], bool) else "another"
        edit(folder, part, **{key: other})
        with pytest.raises(
            CheckpointError, match=rf"`{key}` must be .*Received: {key}={other!r} in"
        ):
            open_checkpoint(folder)
        edit(folder, part, **{key: [values[0]]})  # of a list, every item counts
        open_checkpoint(folder)
        edit(folder, part, **{key: ...})


@pytest.mark.parametrize("part", ELSEWHERE)
def test_every_other_value_is_refused_in_the_files_of_adapters(part, tmp_path):
    for key, values in COMPUTED[part].items():
        other = not values[0] if isinstance(values[0], bool) else "another"
        with pytest.raises(CheckpointError, match=rf"`{key}` must be .*Received: {key}={other!r}"):
            checked(part, {key: other}, tmp_path / "config.json")


def test_comments_are_no_settings(folder):
    for part in FOLDERS:
        edit(folder, part, _name_or_path="x", a_note={"act_fn": "relu"}, torch_dtype="float16")
    open_checkpoint(folder)


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("unet", {"layers_per_block": 1}),
        ("unet", {"layers_per_block": [2, 1]}),
        ("unet", {"down_block_types": ["DownBlock2D", "DownBlock2D"]}),
        ("unet", {"up_block_types": ...}),
        ("unet", {"mid_block_type": None}),
        ("unet", {"block_out_channels": [64]}),
        ("unet", {"transformer_layers_per_block": 2}),
        ("unet", {"transformer_layers_per_block": [2, 1]}),
        ("unet", {"addition_embed_type": "text_time"}),
        ("vae", {"layers_per_block": 1}),
        ("vae", {"up_block_types": ["UpDecoderBlock2D"]}),
        ("text_encoder", {"num_hidden_layers": 4}),
    ],
)
def test_other_blocks_than_the_tensors_are_refused(folder, part, changes):
    edit(folder, part, **changes)
    with pytest.raises(CheckpointError, match=next(iter(changes))):
        open_checkpoint(folder)


def test_blocks_in_words_that_mean_the_same(folder):
    config = tiny_models.UNETS["2.x"]
    for depths in (1, [1, 1], [[1, 1], 1]):
        edit(folder, "unet", layers_per_block=2, transformer_layers_per_block=depths)
        assert open_checkpoint(folder).unet_config() == config
    edit(folder, "unet", layers_per_block=..., transformer_layers_per_block=..., mid_block_type=...)
    assert open_checkpoint(folder).unet_config() == config


def test_as_many_layers_of_text_as_the_settings_say(folder):
    config = CLIPTextConfig(
        vocab_size=20,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        eos_token_id=19,
    )
    torch.manual_seed(0)
    CLIPTextModel(config).save_pretrained(folder / "text_encoder")
    edit(folder, "text_encoder", num_hidden_layers=2)
    judge = CLIPTextModel.from_pretrained(folder / "text_encoder").eval()

    tokens = np.array([[18, 3, 4, 19] + [19] * 73], "int32")
    with torch.no_grad():
        theirs = judge(torch.from_numpy(tokens).long()).last_hidden_state.numpy()
    ours = np.asarray(open_model(folder).text_encoder("float32")(tokens))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_what_is_left_out_is_as_diffusers_has_it(folder):
    edit(folder, "unet", attention_head_dim=..., norm_num_groups=...)
    edit(folder, "text_encoder", num_attention_heads=..., hidden_act=...)
    edit(folder, "vae", scaling_factor=..., norm_num_groups=...)
    checkpoint = open_checkpoint(folder)
    assert checkpoint.unet_config() == replace(tiny_models.UNETS["2.x"], heads=(8, 8))
    text = checkpoint.text_encoder_config()
    assert (text.heads, text.activation) == (8, "quick_gelu")
    assert checkpoint.autoencoder_config() == tiny_models.VAE


@pytest.mark.parametrize(
    "name", ["EulerDiscreteScheduler", "HeunDiscreteScheduler", "LCMScheduler"]
)
def test_the_noise_of_a_scheduler_that_leaves_its_betas_out(folder, name):
    edit(folder, "index", scheduler=["diffusers", name])
    betas = ("beta_start", "beta_end", "beta_schedule")
    edit(folder, "scheduler", **dict.fromkeys(betas, ...))
    for stated in ({}, {"beta_start": 0.001, "num_train_timesteps": 500}):
        edit(folder, "scheduler", **stated)
        judge = getattr(diffusers, name).from_pretrained(folder / "scheduler")
        abar = judge.alphas_cumprod.double().numpy()
        ours = training_sigmas(**open_model(folder).noise)
        np.testing.assert_allclose(ours, np.sqrt((1 - abar) / abar), rtol=1e-3)


@pytest.mark.parametrize("name", ["KarrasVeScheduler", "FlowMatchEulerDiscreteScheduler"])
def test_noise_of_another_kind_is_refused_wherever_it_is_named(folder, name):
    edit(folder, "scheduler", _class_name=name)
    edit(folder, "index", scheduler=...)
    with pytest.raises(CheckpointError, match=f"`_class_name` must be a scheduler of .*{name}"):
        open_checkpoint(folder)
    edit(folder, "scheduler", _class_name=...)
    open_checkpoint(folder)
    edit(folder, "index", scheduler=["diffusers", name])
    with pytest.raises(CheckpointError, match=f"`scheduler` must be .*{name}.*model_index.json"):
        open_checkpoint(folder)


def test_a_tokenizer_of_shorter_rows_is_refused(folder):
    edit(folder, "tokenizer", model_max_length=77)
    open_checkpoint(folder)
    edit(folder, "tokenizer", model_max_length=20)
    with pytest.raises(CheckpointError, match="`model_max_length` must be 77"):
        open_checkpoint(folder)


@pytest.mark.parametrize(("said", "token"), [(2, 19), (..., 19), (7, 7), (49407, 19)])
def test_the_end_of_a_prompt_in_another_vocabulary(folder, said, token):
    edit(folder, "text_encoder", eos_token_id=said)
    assert open_checkpoint(folder).text_encoder_config().end_of_text == token
