"""The names and shapes of a network's tensors in PyTorch's layout, from its configuration alone.

So a file is checked when it is opened, without a network. Linear layers are (O, I) here; a file
may have them as 1x1 convolutions.
"""

from __future__ import annotations

from collections.abc import Iterator

from sfumato.networks.configs import (
    TINY_DECODER,
    TINY_ENCODER,
    AutoencoderConfig,
    TextEncoderConfig,
    TinyAutoencoderConfig,
    UNetConfig,
    UNetPart,
)

Shape = tuple[int, ...]
Layout = Iterator[tuple[str, Shape]]


def _layer(name: str, *shape: int, bias: bool = True) -> Layout:
    """A layer's weight of this shape and its bias; of a norm the shape is its width alone."""
    yield f"{name}.weight", shape
    if bias:
        yield f"{name}.bias", shape[:1]


def _conv(name: str, width_in: int, width: int) -> Layout:
    yield from _layer(name, width, width_in, 3, 3)


def unet(c: UNetConfig) -> Layout:
    """In the order of KerasCV's arrays, which is that of the depths of its functional model."""
    first, time = c.channels[0], 4 * c.channels[0]
    yield from _layer("time_embedding.linear_1", time, first)
    yield from _conv("conv_in", c.in_channels, first)
    yield from _layer("time_embedding.linear_2", time, time)
    if c.guidance_embedding:
        yield from _layer("time_embedding.cond_proj", first, c.guidance_embedding, bias=False)
    if c.added_width:
        yield from _layer("add_embedding.linear_1", time, c.added_width)
        yield from _layer("add_embedding.linear_2", time, time)
    for part in c.parts():
        for layer in part.layers():
            shape = _unet_shape(part, layer, time, c.context_width)
            bias = not layer.endswith((".to_q", ".to_k", ".to_v"))
            yield from _layer(f"{part.name}.{layer}", *shape, bias=bias)
    yield from _layer("conv_norm_out", first)
    yield from _conv("conv_out", first, c.out_channels)


def _unet_shape(part: UNetPart, layer: str, time: int, context: int) -> Shape:
    """The shape of the weight of a layer in a part of the U."""
    width, width_in = part.width, part.width_in
    leaf = layer.rpartition("transformer_blocks.")[2].partition(".")[2] or layer
    shapes = {
        "norm1": (width_in,),
        "conv1": (width, width_in, 3, 3),
        "time_emb_proj": (width, time),
        "norm2": (width,),
        "conv2": (width, width, 3, 3),
        "conv_shortcut": (width, width_in),
        "conv": (width, width, 3, 3),
        "norm": (width,),
        "norm3": (width,),
        "attn2.to_k": (width, context),
        "attn2.to_v": (width, context),
        "ff.net.0.proj": (8 * width, width),  # a value and its gate
        "ff.net.2": (width, 4 * width),
    }
    return shapes.get(leaf, (width, width))


def image_encoder(c: AutoencoderConfig) -> Layout:
    yield from _conv("encoder.conv_in", 3, c.channels[0])
    width = c.channels[0]
    for level, out in enumerate(c.channels):
        prefix = f"encoder.down_blocks.{level}."
        yield from _stage(prefix, width, out, c.layers)
        width = out
        if level < len(c.channels) - 1:
            yield from _conv(f"{prefix}downsamplers.0.conv", out, out)
    yield from _middle("encoder.mid_block.", width)
    moments = 2 * c.latent_channels
    yield from _layer("encoder.conv_norm_out", width)
    yield from _conv("encoder.conv_out", width, moments)
    yield from _layer("quant_conv", moments, moments)


def decoder(c: AutoencoderConfig) -> Layout:
    width = c.channels[-1]
    yield from _layer("post_quant_conv", c.latent_channels, c.latent_channels)
    yield from _conv("decoder.conv_in", c.latent_channels, width)
    yield from _middle("decoder.mid_block.", width)
    for level, out in enumerate(c.channels[::-1]):
        prefix = f"decoder.up_blocks.{level}."
        yield from _stage(prefix, width, out, c.layers + 1)
        width = out
        if level < len(c.channels) - 1:
            yield from _conv(f"{prefix}upsamplers.0.conv", out, out)
    yield from _layer("decoder.conv_norm_out", width)
    yield from _conv("decoder.conv_out", width, 3)


def _stage(prefix: str, width: int, out: int, layers: int) -> Layout:
    """The residual blocks of one size."""
    for index in range(layers):
        yield from _resnet(f"{prefix}resnets.{index}.", out if index else width, out)


def _resnet(prefix: str, width: int, out: int) -> Layout:
    yield from _layer(f"{prefix}norm1", width)
    yield from _conv(f"{prefix}conv1", width, out)
    yield from _layer(f"{prefix}norm2", out)
    yield from _conv(f"{prefix}conv2", out, out)
    if width != out:
        yield from _layer(f"{prefix}conv_shortcut", out, width)


def _middle(prefix: str, width: int) -> Layout:
    yield from _resnet(f"{prefix}resnets.0.", width, width)
    yield from _layer(f"{prefix}attentions.0.group_norm", width)
    for layer in ("to_q", "to_k", "to_v", "to_out.0"):
        yield from _layer(f"{prefix}attentions.0.{layer}", width, width)
    yield from _resnet(f"{prefix}resnets.1.", width, width)


def tiny_image_encoder(c: TinyAutoencoderConfig) -> Layout:
    yield from _tiny("encoder", TINY_ENCODER, (3, c.width, c.latent_channels))


def tiny_decoder(c: TinyAutoencoderConfig) -> Layout:
    yield from _tiny("decoder", TINY_DECODER, (c.latent_channels, c.width, 3))


def _tiny(half: str, kinds: tuple[str, ...], widths: tuple[int, int, int]) -> Layout:
    """Half a tiny autoencoder, of these widths before, within and behind it."""
    before, width, behind = widths
    for index, kind in enumerate(kinds):
        name = f"{half}.layers.{index}"
        if kind == "conv":
            yield from _conv(name, width if index else before, behind if index else width)
        elif kind == "block":
            for place in (0, 2, 4):
                yield from _conv(f"{name}.conv.{place}", width, width)
        elif kind in ("half", "double"):
            yield from _layer(name, width, width, 3, 3, bias=False)


def text_encoder(c: TextEncoderConfig) -> Layout:
    width, mlp = c.width, c.mlp_width
    yield "embeddings.token_embedding.weight", (c.vocabulary, width)
    yield "embeddings.position_embedding.weight", (c.length, width)
    for layer in range(c.layers):
        prefix = f"encoder.layers.{layer}."
        yield from _layer(f"{prefix}layer_norm1", width)
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from _layer(f"{prefix}self_attn.{part}", width, width)
        yield from _layer(f"{prefix}layer_norm2", width)
        yield from _layer(f"{prefix}mlp.fc1", mlp, width)
        yield from _layer(f"{prefix}mlp.fc2", width, mlp)
    yield from _layer("final_layer_norm", width)
    if c.projection:
        yield from _layer("text_projection", c.projection, width, bias=False)
