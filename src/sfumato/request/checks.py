"""What a model cannot do, found before anything is loaded; errors name the field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sfumato import presets
from sfumato._numbers import MAX_PIXELS
from sfumato.request.fields import RequestError
from sfumato.request.pictured import sides_of
from sfumato.request.words import drawn

if TYPE_CHECKING:
    from sfumato.checkpoints import Model
    from sfumato.presets import Preset
    from sfumato.request.request import Request

RESIZED = "`resize` be crop, fill or stretch"


def check_pictures(request: Request, model: Model) -> None:
    """Refuse a picture or a mask that is missing, and what contradicts each other."""
    given = request.given()
    for name in ("mask", "strength", "extend", "resize"):
        if name in given and request.image is None:
            raise RequestError("image", f"be given with `{name}`", "image=None")
    for name in ("mask_blur", "inpaint_area"):
        if name in given and not request.paints_part:
            raise RequestError("mask", f"be given with `{name}`", "mask=None")
    if request.resize and request.inpaint_area == "masked":
        must = "not be given when `inpaint_area` is masked, as the picture keeps its size then"
        raise RequestError.of("resize", must, request.resize)
    if model.sees_masks and not request.paints_part:
        must = "be given for a model made for inpainting: use `inpaint`"
        raise RequestError("mask", must, "mask=None")
    if model.edits_pictures and request.image is None:
        raise RequestError("image", "be given for a model that edits pictures", "image=None")


def check_size(request: Request, model: Model) -> None:
    """Refuse a size that the model cannot paint, or that is not the given picture's."""
    grain = model.autoencoder_config.downsampling
    shape = (request.height or 0, request.width or 0)
    own = request.image is not None and shape == sides_of(request)
    way = f", or {RESIZED}" if own else ""
    for name, size in zip(("height", "width"), shape, strict=True):
        if size % grain:
            raise RequestError.of(name, f"be a multiple of {grain}{way}", size)
    if shape[0] * shape[1] > MAX_PIXELS:
        must = f"make a picture of at most {MAX_PIXELS} pixels in size"
        raise RequestError("width", must, f"width={request.width}, height={request.height}")
    if request.image is not None:
        _check_fit(request, request.image.shape, shape)


def _check_fit(request: Request, given: tuple[int, ...], shape: tuple[int, int]) -> None:
    """Refuse a picture, a mask and margins that do not fit each other, or the size asked for."""
    if request.mask is not None and request.mask.shape != given[:2]:
        received = f"mask of shape {request.mask.shape}"
        raise RequestError("mask", f"have shape {given[:2]}", received)
    whole = sides_of(request)
    if whole[0] * whole[1] > MAX_PIXELS:
        must = f"make a picture of at most {MAX_PIXELS} pixels in size"
        raise RequestError.of("extend", must, request.extend)
    room = tuple(shape[i] - whole[i] + given[i] for i in (0, 1))
    if request.resize and min(room) < 1:
        must = f"leave room for the picture in {shape[1]}x{shape[0]} pixels"
        raise RequestError.of("extend", must, request.extend)
    if request.inpaint_area != "masked" and not request.resize and room != given[:2]:
        must = f"have shape {room}, or {RESIZED}"
        raise RequestError("image", must, f"image of shape {given}")


def check_guidance(request: Request, model: Model) -> None:
    """Refuse perturbed attention where the network has no attention in its middle."""
    if request.pag_scale and not any(model.checkpoint.unet_config().mid):
        must = "be 0 for a model without attention in the middle of its network"
        raise RequestError.of("pag_scale", must, request.pag_scale)


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


def check_own(request: Request, own: Mapping[str, str | None], preset: Preset, dtype: str) -> None:
    """Refuse what a loaded model is not: another one, or another decoder or precision of it.

    Args:
        request: not yet completed.
        own: the fields that the loaded model has answered.
        preset: its own.
        dtype: the name of its policy, by which it may be asked for, too.
    """
    asked = {name: getattr(request, name) for name in own}
    if request.dtype == dtype:
        asked["dtype"] = None
    if request.model:
        is_ours = presets.find(request.model) is preset
        asked["model"] = None if is_ours else presets.public_name(request.model)
    asked["decoder"] = request.decoder and presets.public_name(request.decoder)
    for name, mine in own.items():
        if asked[name] not in (None, mine):
            raise RequestError.of(name, f"be that of the loaded model, {mine!r}", asked[name])
