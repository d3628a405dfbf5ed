"""The models that requests name: the last one stays open, so that the next request finds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sfumato._backend import import_keras

if TYPE_CHECKING:
    from sfumato.checkpoints import Prediction
    from sfumato.request import Request
    from sfumato.stable_diffusion import StableDiffusion

DEFAULT_MODEL = "mini"


class Opened:
    """The model that was opened last, and the last one that was quantised.

    Args:
        open_model: opens one, as the function of that name.
        doing: is called with words for what takes a while.
    """

    def __init__(
        self,
        open_model: Callable[..., StableDiffusion],
        doing: Callable[[str], Any] = lambda title: None,
    ) -> None:
        self.open_model, self.doing = open_model, doing
        self.models: dict[bool, tuple[Any, StableDiffusion]] = {}

    def plain(self, request: Request) -> StableDiffusion:
        """The model of a request, opened unless it was the last one."""
        name = request.model or DEFAULT_MODEL
        return self._opened(False, f"loading {name}", name, request.dtype, request.decoder)

    def ready(self, request: Request) -> StableDiffusion:
        """The model for a completed request, quantised if it asks for that."""
        if not request.quantize:
            return self.plain(request)
        name = request.model or DEFAULT_MODEL
        size = (request.height, request.width)
        title = f"measuring {name} for {request.quantize}"
        model = self._opened(True, title, name, request.dtype, request.decoder, *size)
        if model.quantized != request.quantize:
            model.quantize(request.quantize)
        return model

    def _opened(self, quantized: bool, title: str, *names: Any) -> StableDiffusion:
        if quantized not in self.models or self.models[quantized][0] != names:
            self.doing(title)
            self.models[quantized] = (names, self.open_model(*names))
        return self.models[quantized][1]


def open_model(
    name: str,
    dtype: str | None,
    decoder: str | None = None,
    height: int | None = None,
    width: int | None = None,
    prediction: Prediction | None = None,
) -> StableDiffusion:
    """The model, for pictures of a size or of its own."""
    import_keras(alone=True)
    from sfumato import StableDiffusion

    own: dict[str, Any] = {"dtype": dtype, "decoder": decoder, "prediction": prediction}
    return StableDiffusion.from_preset(name, height, width, **own)
