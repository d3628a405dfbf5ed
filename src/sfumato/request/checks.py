"""What a model cannot do, found before anything is loaded; errors name the field."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sfumato._numbers import MAX_PIXELS
from sfumato.request.fields import RequestError
from sfumato.request.words import drawn

if TYPE_CHECKING:
    from sfumato.checkpoints import Model
    from sfumato.request.request import Request


def check_pictures(request: Request, model: Model) -> None:
    """Refuse a picture that is missing."""
    for name in ("mask", "strength"):
        if request.image is None and getattr(request, name) is not None:
            raise RequestError("image", f"be given with `{name}`", "image=None")
    if model.sees_masks and request.mask is None:
        must = "be given for a model made for inpainting: use `inpaint`"
        raise RequestError("mask", must, "mask=None")


def check_size(request: Request, model: Model) -> None:
    """Refuse a size that the model cannot paint, or that is not the given picture's."""
    grain = model.autoencoder_config.downsampling
    for name in ("height", "width"):
        if (size := getattr(request, name)) % grain:
            raise RequestError.of(name, f"be a multiple of {grain}", size)
    shape = (request.height, request.width)
    if (request.height or 0) * (request.width or 0) > MAX_PIXELS:
        must = f"make a picture of at most {MAX_PIXELS} pixels in size"
        raise RequestError("width", must, f"width={request.width}, height={request.height}")
    for name in ("image", "mask"):
        pixels = getattr(request, name)
        if pixels is not None and pixels.shape[:2] != shape:
            raise RequestError(name, f"have shape {shape}", f"{name} of shape {pixels.shape}")


def check_words(request: Request, model: Model) -> None:
    """Refuse a layer that the text encoder lacks, and wildcards that are not there."""
    if request.clip_skip > 1:
        layers = 2  # the one that 2.x and XL read anyway
        if model.family.reads_any_layer:
            layers = model.checkpoint.text_encoder_config("text_encoder").layers
        if request.clip_skip > layers:
            must = f"be at most {layers} for this model"
            raise RequestError.of("clip_skip", must, request.clip_skip)
    drawn(request)
