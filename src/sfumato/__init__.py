"""Sfumato: Stable Diffusion for Keras 3.

    import sfumato

    model = sfumato.load("mini")
    model.generate("a red apple")[0].save("apple.png")

Importing this package picks the Keras backend if the user has not (`docs/backends.md`) and loads
nothing else: Keras and the backend come when a public name is first touched.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from sfumato._backend import choose_backend, import_keras

if TYPE_CHECKING:
    from sfumato import models, visualization
    from sfumato.comparison import compare
    from sfumato.request import Request
    from sfumato.safety import classify
    from sfumato.stable_diffusion import Picture, StableDiffusion, StableDiffusionV2, Step, load
    from sfumato.upscaling import upscale

__version__ = "0.1.0.dev0"

__all__ = [
    "Picture",
    "Request",
    "StableDiffusion",
    "StableDiffusionV2",
    "Step",
    "__version__",
    "classify",
    "compare",
    "load",
    "models",
    "upscale",
    "visualization",
]

# Where each public name lives; "" says that the name is itself a module.
_HOMES = {
    "Picture": "picture",
    "Request": "request",
    "StableDiffusion": "stable_diffusion",
    "StableDiffusionV2": "stable_diffusion",
    "Step": "stable_diffusion",
    "classify": "safety",
    "compare": "comparison",
    "load": "stable_diffusion",
    "models": "",
    "upscale": "upscaling",
    "visualization": "",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_keras()
    home = _HOMES[name]
    module = import_module(f"{__name__}.{home or name}")
    value = getattr(module, name) if home else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


choose_backend()
