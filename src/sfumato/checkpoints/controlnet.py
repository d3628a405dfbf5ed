"""The ControlNet that a file holds, read from the shapes of its tensors and from its U-Net."""

from __future__ import annotations

from sfumato.checkpoints.architecture import (
    Settings,
    Shapes,
    channels_of,
    check_blocks,
    count_of,
    depth_of,
    depths_of,
    heads_of,
    shape_of,
    unet_blocks,
)
from sfumato.checkpoints.tensors import CheckpointError
from sfumato.networks.configs import ControlNetConfig, UNetConfig

HINT = "controlnet_cond_embedding."


def controlnet_config(
    shapes: Shapes, base: UNetConfig, settings: Settings | None = None
) -> ControlNetConfig:
    """The ControlNet with tensors of these shapes; what they leave open is as in its U-Net.

    Raises:
        CheckpointError: a tensor that every ControlNet has is missing, or its blocks are not those
            of the U-Net.
    """
    settings = settings or {}
    convs = range(1, count_of(shapes, f"{HINT}blocks."), 2)
    names = ("conv_in", *(f"{HINT}{name}" for name in ("conv_in", *(f"blocks.{i}" for i in convs))))
    first, *hints = (shape_of(shapes, f"{name}.weight") for name in names)
    if any(len(shape) != 4 for shape in (first, *hints)):
        raise CheckpointError(f"The ControlNet must have convolutions in {', '.join(names)}.")
    try:
        config = ControlNetConfig(
            in_channels=first[1],
            channels=channels_of(shapes),
            down=depths_of(shapes, "down_blocks"),
            mid=depth_of(shapes, "mid_block."),
            up=base.up,
            heads=heads_of(settings, len(base.channels)) or base.heads,
            context_width=base.context_width,
            added_width=shapes.get("add_embedding.linear_1.weight", (0,))[-1],
            size_embedding=int(settings.get("addition_time_embed_dim") or base.size_embedding),
            groups=int(settings.get("norm_num_groups") or base.groups),
            linear_projection=base.linear_projection,
            hint_channels=hints[0][1],
            hint_widths=tuple(shape[0] for shape in hints),
            is_global=bool(settings.get("global_pool_conditions")),
            mixer_layers=count_of(shapes, "mixer.transformer_layes."),
        )
    except ValueError as error:
        raise CheckpointError(f"The ControlNet does not fit the model. {error}") from error
    if config.channels != base.channels:
        raise CheckpointError(
            f"The levels of the ControlNet must be as wide as the model's, {base.channels}. "
            f"Received: {config.channels}"
        )
    blocks = {k: v for k, v in unet_blocks(config).items() if k != "up_block_types"}
    check_blocks("ControlNet", settings, blocks)
    return config
