"""The networks against diffusers and transformers, on the same random weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import LatentConsistencyModelPipeline
from keras import ops
from references import UNETS, arrays, autoencoder, error, first, last, text_encoder, unet

from sfumato import runtime
from sfumato.checkpoints import architecture, fill, folders
from sfumato.networks import configs
from sfumato.networks.autoencoder import ImageDecoder, ImageEncoder
from sfumato.networks.configs import AutoencoderConfig, UNetConfig
from sfumato.networks.denoiser import Aids
from sfumato.networks.layers import SelfAttention, timestep_embedding
from sfumato.networks.network import keys
from sfumato.networks.text_encoder import TextEncoder
from sfumato.networks.unet import UNet

TOLERANCE = 1e-5  # of the largest value; promised are 1e-4


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape, "float32")


def loaded_unet(theirs: Any) -> UNet:
    tensors = folders.native("unet", arrays(theirs))
    ours = UNet(architecture.unet_config(architecture.shapes_of(tensors), dict(theirs.config)))
    fill(ours, tensors)
    return ours


@pytest.mark.parametrize(
    ("kind", "size"),
    [*((kind, (16, 24)) for kind in UNETS), ("1.x", (9, 15)), ("xl", (13, 10))],
    ids=str,
)
def test_unet(kind: str, size: tuple[int, int]) -> None:
    theirs = unet(kind)
    ours = loaded_unet(theirs)
    x = noise(2, *size, ours.config.in_channels)
    timesteps = np.array([7.0, 901.0], "float32")
    context = noise(2, 77, ours.config.context_width)
    inputs = [x, ops.convert_to_numpy(timestep_embedding(timesteps, 32)), context]
    added = {}
    if ours.config.added_width:
        pooled, sizes = noise(2, 32), np.array([[64, 48, 0, 8, 64, 48]] * 2, "float32")
        waves = np.asarray(timestep_embedding(sizes.reshape(-1), 256)).reshape(2, -1)
        inputs.append(np.concatenate([pooled, waves], axis=-1))
        added = {
            "added_cond_kwargs": {
                "text_embeds": torch.from_numpy(pooled),
                "time_ids": torch.from_numpy(sizes),
            }
        }
    with torch.no_grad():
        expected = theirs(
            first(x), torch.from_numpy(timesteps), torch.from_numpy(context), **added
        ).sample
    program = runtime.compile(lambda *inputs: ours(list(inputs)), [ours], True)
    assert error(program(*inputs), last(expected)) < TOLERANCE


def test_guidance_as_an_input() -> None:
    theirs = unet("lcm")
    ours = loaded_unet(theirs)
    x, context = noise(2, 8, 8, 4), noise(2, 77, ours.config.context_width)
    scales = torch.full((2,), 6.5)
    embed = LatentConsistencyModelPipeline.get_guidance_scale_embedding
    with torch.no_grad():
        waves = embed(None, scales, 16)  # pyright: ignore[reportArgumentType]
        both = (first(x), 321, torch.from_numpy(context))
        expected = theirs(*both, timestep_cond=waves).sample

    def predict(x: Any, context: Any, timestep: Any, guidance: Any) -> Any:
        aids = Aids(guidance=guidance)
        return ours.predict(x, timestep, ours.prepare(context), aids).answer

    program = runtime.compile(predict, [ours], True)
    got = program(x, context, np.float32(321), np.float32(6.5))
    assert error(got, last(expected)) < TOLERANCE


@pytest.mark.parametrize("kind", UNETS, ids=str)
def test_two_questions_about_the_same_latents(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in guidance: what comes before the text is computed once for both of them."""
    theirs = unet(kind)
    ours = loaded_unet(theirs)
    x, context = noise(3, 9, 15, ours.config.in_channels), noise(6, 77, ours.config.context_width)
    added, conditions = [], {}
    if ours.takes_sizes:
        pooled, sizes = noise(6, 32), np.full((6, 6), 64, "float32")
        added = [ops.convert_to_tensor(pooled), ops.convert_to_tensor(sizes)]
        text = {"text_embeds": torch.from_numpy(pooled), "time_ids": torch.from_numpy(sizes)}
        conditions = {"added_cond_kwargs": text}
    with torch.no_grad():
        both = first(np.concatenate([x, x]))
        expected = theirs(both, 321, torch.from_numpy(context), **conditions).sample
    batches = []
    attend = SelfAttention.call
    monkeypatch.setattr(
        SelfAttention, "call", lambda self, x: batches.append(x.shape[0]) or attend(self, x)
    )
    conditioning = ours.prepare(ops.convert_to_tensor(context), *added)
    timestep = ops.convert_to_tensor(321.0)
    got, deep = ours.predict(ops.convert_to_tensor(x), timestep, conditioning)
    assert deep is None
    assert error(got, last(expected)) < TOLERANCE
    # XL's time knows of the prompt, and so do all of its blocks.
    assert batches == [6 if ours.takes_sizes else 3] + [6] * (len(batches) - 1)


@pytest.mark.slow
def test_unet_of_full_size() -> None:
    """Stable Diffusion 1.5 in all its 860 million weights."""
    config = {"cross_attention_dim": 768, "attention_head_dim": 8}
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    theirs = UNet2DConditionModel(**config).eval()
    ours = loaded_unet(theirs)
    assert ours.config.channels == (320, 640, 1280, 1280)
    assert ours.count_params() == 859_520_964
    x, context, timestep = noise(1, 32, 32, 4), noise(1, 77, 768), np.array([500.0], "float32")
    with torch.no_grad():
        expected = theirs(first(x), torch.from_numpy(timestep), torch.from_numpy(context)).sample
    waves = ops.convert_to_numpy(timestep_embedding(timestep, 320))
    program = runtime.compile(lambda *inputs: ours(list(inputs)), [ours], True)
    assert error(program(x, waves, context), last(expected)) < TOLERANCE


def test_autoencoder() -> None:
    theirs = autoencoder()
    tensors = folders.native("vae", arrays(theirs))
    encoder_half = {k: v for k, v in tensors.items() if k.startswith(("encoder", "quant"))}
    decoder_half = {k: v for k, v in tensors.items() if k not in encoder_half}
    config = architecture.autoencoder_config(
        architecture.shapes_of(decoder_half), dict(theirs.config)
    )
    encoder, decoder = ImageEncoder(config), ImageDecoder(config)
    fill(encoder, encoder_half)
    fill(decoder, decoder_half)
    pictures = noise(2, 24, 40, 3)
    with torch.no_grad():
        moments = theirs.encode(first(pictures)).latent_dist
        expected = theirs.decode(moments.mean).sample
    mean, log_variance = runtime.compile(encoder.moments, [encoder], True)(pictures)
    assert error(mean, last(moments.mean)) < TOLERANCE
    assert error(log_variance, last(moments.logvar)) < TOLERANCE
    latents = last(moments.mean) * config.scaling_factor
    assert error(runtime.compile(encoder, [encoder], True)(pictures), latents) < TOLERANCE
    assert error(runtime.compile(decoder, [decoder], True)(latents), last(expected)) < TOLERANCE


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
@pytest.mark.parametrize("projection", [False, True])
def test_text_encoder(activation: str, projection: bool) -> None:
    theirs = text_encoder(activation, projection)
    tensors = folders.native("text_encoder", arrays(theirs))
    settings = theirs.config.to_dict() | {
        "architectures": ["CLIPTextModelWithProjection" if projection else "CLIPTextModel"]
    }
    shapes = architecture.shapes_of(tensors)
    ours = TextEncoder(architecture.text_encoder_config(shapes, settings, projection))
    fill(ours, tensors)
    tokens = np.full((2, 77), 49407, "int32")
    tokens[0, :5] = [49406, 320, 736, 2368, 49407]
    tokens[1, :4] = [49406, 5, 6, 7]
    with torch.no_grad():
        expected = theirs(torch.from_numpy(tokens).long(), output_hidden_states=True)
    context, pooled = runtime.compile(ours.encode, [ours], True)(tokens)
    if projection:  # XL
        assert error(context, expected.hidden_states[-2].numpy()) < TOLERANCE
        assert error(pooled, expected.text_embeds.numpy()) < TOLERANCE
    else:
        assert error(context, expected.last_hidden_state.numpy()) < TOLERANCE
        assert error(pooled, expected.pooler_output.numpy()) < TOLERANCE


def test_networks_draw_nothing_and_keep_their_names() -> None:
    network = UNet(UNetConfig())
    names = keys(network)
    assert all(variable._value is None for variable in names.values())
    assert "down_blocks.0.attentions.1.transformer_blocks.0.attn2.to_out.0.weight" in names
    assert "up_blocks.3.resnets.2.conv_shortcut.bias" in names
    path = names["mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj.weight"].path
    assert path.endswith("mid_block/attentions_0/transformer_blocks_0/ff/net_0/proj/kernel")


XL = UNetConfig(
    channels=(320, 640, 1280),
    down=((0, 0), (2, 2), (10, 10)),
    mid=(10, 0),
    up=((10, 10, 10), (2, 2, 2), (0, 0, 0)),
    heads=(5, 10, 20),
    context_width=2048,
    added_width=2816,
)


@pytest.mark.parametrize(
    ("network", "config", "count"),
    [
        (UNet, UNetConfig(), 859_520_964),
        (UNet, UNetConfig(heads=(5, 10, 20, 20), context_width=1024), 865_910_724),
        (UNet, XL, 2_567_463_684),
        (ImageDecoder, AutoencoderConfig(), 49_490_199),
        (ImageEncoder, AutoencoderConfig(), 34_163_664),
        (TextEncoder, configs.CLIP_L, 123_060_480),
        (TextEncoder, configs.OPENCLIP_H, 340_387_840),
        (TextEncoder, configs.OPENCLIP_BIGG, 694_659_840),
    ],
)
def test_the_published_models_have_their_published_number_of_parameters(
    network: Any, config: Any, count: int
) -> None:
    assert network(config).count_params() == count
