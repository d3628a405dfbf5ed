"""The networks that a checkpoint holds, read from the shapes of its tensors.

Some things leave no trace in the shapes: the number of attention heads, the groups of the norms,
the width of XL's size embedding and the text encoder's activation. ``settings``, the part's
``config.json``, has them; without it they are the family's. diffusers builds as many blocks as it
says and passes over the weights of the others, so it must say as many as there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from sfumato.checkpoints.tensors import CheckpointError, Tensors
from sfumato.networks.configs import (
    CLIP_L,
    END_OF_TEXT,
    SIZES,
    AutoencoderConfig,
    TextEncoderConfig,
    TinyAutoencoderConfig,
    UNetConfig,
)
from sfumato.presets.families import find_family

Shapes = Mapping[str, tuple[int, ...]]
Settings = Mapping[str, Any]


def shapes_of(tensors: Tensors) -> Shapes:
    return {name: tensor.shape for name, tensor in tensors.items()}


def unet_config(shapes: Shapes, settings: Settings | None = None, sizes: int = SIZES) -> UNetConfig:
    """The U-Net with tensors of these shapes: 1.x, 2.x, XL, inpainting models and pruned kin.

    ``sizes`` is the number of those that XL takes.

    Raises:
        CheckpointError: a tensor that every U-Net has is missing, or the levels do not fit
            together.
    """
    settings = settings or {}
    channels = channels_of(shapes)
    context = [shape for name, shape in shapes.items() if name.endswith("attn2.to_k.weight")]
    projections = [shape for name, shape in shapes.items() if name.endswith("proj_in.weight")]
    if not channels or not context or not projections:
        raise CheckpointError("The U-Net has no levels or no attention to the text.")
    context_width = context[0][-1]
    added_width = shapes.get("add_embedding.linear_1.weight", (0,))[-1]
    family = find_family(context_width, added_width > 0)
    head_width = family.head_width if context_width == family.context_width else 64
    size_embedding = settings.get("addition_time_embed_dim") or family.size_embedding
    config = build_unet_config(
        in_channels=shape_of(shapes, "conv_in.weight")[1],
        out_channels=shape_of(shapes, "conv_out.weight")[0],
        channels=channels,
        down=depths_of(shapes, "down_blocks"),
        mid=depth_of(shapes, "mid_block."),
        up=depths_of(shapes, "up_blocks"),
        heads=heads_of(settings, len(channels))
        or replace(family, head_width=head_width).heads(channels),
        context_width=context_width,
        added_width=added_width,
        sizes=sizes,
        size_embedding=int(size_embedding or UNetConfig.size_embedding),
        guidance_embedding=shapes.get("time_embedding.cond_proj.weight", (0,))[-1],
        groups=int(settings.get("norm_num_groups") or 32),
        linear_projection=len(projections[0]) == 2,
    )
    check_blocks("U-Net", settings, unet_blocks(config))
    _check_depths(settings, config)
    return config


def build_unet_config(**fields: Any) -> UNetConfig:
    """The configuration; CheckpointError if its fields contradict one another."""
    try:
        return UNetConfig(**fields)
    except ValueError as error:
        raise CheckpointError(f"The U-Net does not fit together. {error}") from error


def channels_of(shapes: Shapes) -> tuple[int, ...]:
    """The widths of the levels."""
    return tuple(
        shape_of(shapes, f"down_blocks.{level}.resnets.0.conv1.weight")[0]
        for level in range(count_of(shapes, "down_blocks."))
    )


def heads_of(settings: Settings, levels: int) -> tuple[int, ...]:
    """The number of heads at each level as the settings have it; empty if they do not."""
    # In diffusers' U-Net configurations `attention_head_dim` is the number of heads.
    heads = settings.get("attention_head_dim") or ()
    return (heads,) * levels if isinstance(heads, int) else tuple(heads)


def unet_blocks(c: UNetConfig) -> Settings:
    """The blocks of a U-Net in diffusers' words."""
    mid = {(): None, (0,): "UNetMidBlock2D"}.get(c.mid, "UNetMidBlock2DCrossAttn")
    return {
        "addition_embed_type": "text_time" if c.added_width else None,
        "block_out_channels": list(c.channels),
        "down_block_types": [f"{'CrossAttn' * any(level)}DownBlock2D" for level in c.down],
        "layers_per_block": [len(level) for level in c.down],
        "mid_block_type": mid,
        "time_cond_proj_dim": c.guidance_embedding or None,
        "up_block_types": [f"{'CrossAttn' * any(level)}UpBlock2D" for level in c.up],
    }


def check_blocks(network: str, settings: Settings, found: Settings) -> None:
    """Refuse settings of other blocks than those that the tensors make."""
    for key, wanted in found.items():
        said = settings.get(key, wanted)
        items = [said] * len(wanted) if isinstance(said, int) and isinstance(wanted, list) else said
        if (list(items) if isinstance(items, tuple) else items) != wanted:
            raise CheckpointError(
                f"`{key}` must be {wanted}, as the tensors of the {network} have it. "
                f"Received: {key}={said}"
            )


def _check_depths(settings: Settings, c: UNetConfig) -> None:
    """Refuse settings of more or fewer transformer blocks than there are."""
    key = "transformer_layers_per_block"
    said = settings.get(key)
    if said is None:
        return
    down = [said] * len(c.channels) if isinstance(said, int) else list(said)
    up = settings.get(f"reverse_{key}") or down[::-1]
    for number, found in (
        *zip(down, c.down, strict=False),
        *zip(up, c.up, strict=False),
        *zip(down[-1:], [c.mid[:1]], strict=True),
    ):
        depths = (number,) * len(found) if isinstance(number, int) else tuple(number)
        if any(found) and depths[: len(found)] != found[: len(depths)]:
            raise CheckpointError(
                f"`{key}` must fit the tensors of the U-Net, which has {c.down} in its down "
                f"blocks, {c.mid} in the middle and {c.up} in its up blocks. Received: {key}={said}"
            )


def depths_of(shapes: Shapes, side: str) -> tuple[tuple[int, ...], ...]:
    return tuple(
        depth_of(shapes, f"{side}.{level}.") for level in range(count_of(shapes, f"{side}."))
    )


def depth_of(shapes: Shapes, block: str) -> tuple[int, ...]:
    """For every residual block of a level, how many transformer blocks follow it."""
    return tuple(
        count_of(shapes, f"{block}attentions.{index}.transformer_blocks.")
        for index in range(count_of(shapes, f"{block}resnets."))
    )


def autoencoder_config(
    shapes: Shapes, settings: Settings | None = None
) -> AutoencoderConfig | TinyAutoencoderConfig:
    """The autoencoder with tensors of these shapes; either half is enough.

    Raises:
        CheckpointError: neither half is there.
    """
    settings = settings or {}
    kind = "AutoencoderTiny" if is_tiny(shapes) else "AutoencoderKL"
    if (said := settings.get("_class_name", kind)) not in (kind, [kind]):
        raise CheckpointError(
            f"`_class_name` must be {kind!r}, as the tensors of the autoencoder have it. "
            f"Received: _class_name={said!r}"
        )
    if is_tiny(shapes):
        return _tiny_config(shapes, settings)
    down, up = "encoder.down_blocks.", "decoder.up_blocks."
    if count := count_of(shapes, up):
        levels = [f"{up}{level}." for level in reversed(range(count))]
        layers = count_of(shapes, f"{levels[0]}resnets.") - 1
        latent_channels = shape_of(shapes, "decoder.conv_in.weight")[1]
    elif count := count_of(shapes, down):
        levels = [f"{down}{level}." for level in range(count)]
        layers = count_of(shapes, f"{levels[0]}resnets.")
        latent_channels = shape_of(shapes, "encoder.conv_out.weight")[0] // 2
    else:
        raise CheckpointError("The autoencoder has neither an encoder nor a decoder.")
    config = AutoencoderConfig(
        channels=tuple(shape_of(shapes, f"{level}resnets.0.conv1.weight")[0] for level in levels),
        layers=layers,
        latent_channels=latent_channels,
        groups=int(settings.get("norm_num_groups") or 32),
        scaling_factor=float(settings.get("scaling_factor") or AutoencoderConfig.scaling_factor),
        **_statistics(settings, latent_channels),
    )
    blocks = {
        "block_out_channels": list(config.channels),
        "down_block_types": ["DownEncoderBlock2D"] * len(levels),
        "layers_per_block": layers,
        "up_block_types": ["UpDecoderBlock2D"] * len(levels),
    }
    check_blocks("autoencoder", settings, blocks)
    return config


def _statistics(settings: Settings, channels: int) -> dict[str, tuple[float, ...]]:
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


def is_tiny(names: Iterable[str]) -> bool:
    """Whether these are the tensors of a tiny autoencoder, or of one of its halves."""
    return not {"encoder.layers.1.conv.0.weight", "decoder.layers.2.conv.0.weight"}.isdisjoint(
        names
    )


def _tiny_config(shapes: Shapes, settings: Settings) -> TinyAutoencoderConfig:
    """The tiny autoencoder; what is said of a full one is not said of it."""
    said = settings if settings.get("_class_name") == "AutoencoderTiny" else {}
    if "decoder.layers.0.weight" in shapes:
        width, latent_channels, *_ = shapes["decoder.layers.0.weight"]
    else:
        latent_channels, width, *_ = shape_of(shapes, "encoder.layers.14.weight")
    blocks = {
        "decoder_block_out_channels": [width] * 4,
        "encoder_block_out_channels": [width] * 4,
        "latent_channels": latent_channels,
        "num_decoder_blocks": [3, 3, 3, 1],
        "num_encoder_blocks": [1, 3, 3, 3],
    }
    check_blocks("tiny autoencoder", said, blocks)
    return TinyAutoencoderConfig(width, latent_channels, float(said.get("scaling_factor", 1)))


def text_encoder_config(
    shapes: Shapes, settings: Settings | None = None, penultimate: bool = False
) -> TextEncoderConfig:
    """The CLIP text encoder with tensors of these shapes.

    Args:
        shapes: of the tensors, by native name.
        settings: of its ``config.json``.
        penultimate: whether the denoiser takes the last but one layer's output, as XL's does.

    Raises:
        CheckpointError: a tensor that every text encoder has is missing.
    """
    settings = settings or {}
    vocabulary, width = shape_of(shapes, "embeddings.token_embedding.weight")
    is_clip_l = width == CLIP_L.width
    layers = count_of(shapes, "encoder.layers.")
    check_blocks("text encoder", settings, {"num_hidden_layers": layers})
    # Of XL's encoders only the second's pooled output is used; the first's projection is not.
    projection = 0 if is_clip_l else shapes.get("text_projection.weight", (0,))[0]
    return TextEncoderConfig(
        width=width,
        layers=layers,
        heads=int(settings.get("num_attention_heads") or max(1, width // 64)),
        mlp_width=shape_of(shapes, "encoder.layers.0.mlp.fc1.weight")[0],
        activation=settings.get("hidden_act") or ("quick_gelu" if is_clip_l else "gelu"),
        vocabulary=vocabulary,
        length=shape_of(shapes, "embeddings.position_embedding.weight")[0],
        projection=projection,
        penultimate=penultimate,
        end_of_text=_end_of_text(vocabulary, settings),
    )


def _end_of_text(vocabulary: int, settings: Settings) -> int:
    """The token that ends a prompt; 2 in the settings stands for the last word of all."""
    said = settings.get("eos_token_id")
    if isinstance(said, int) and said != 2 and said < vocabulary:
        return said
    return END_OF_TEXT if vocabulary > END_OF_TEXT else vocabulary - 1


def count_of(names: Iterable[str], prefix: str) -> int:
    """Count the numbered members that follow the prefix: one more than the highest number."""
    pattern = re.compile(re.escape(prefix) + r"(\d{1,3})\.")
    return max((int(m[1]) + 1 for name in names if (m := pattern.match(name))), default=0)


def shape_of(shapes: Shapes, name: str) -> tuple[int, ...]:
    if name not in shapes:
        raise CheckpointError(f"The checkpoint lacks `{name}`, which is read for its shape.")
    return shapes[name]
