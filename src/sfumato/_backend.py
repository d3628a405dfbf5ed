"""Choosing the Keras backend for a user who has not.

Keras fixes its backend when it is first imported and falls back to TensorFlow, installed or not.
Sfumato asks for JAX first. Looking costs a few file lookups; no backend is imported.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

# In the order in which Sfumato wants them. All but the last also train.
BACKENDS = ("jax", "tensorflow", "torch", "openvino")

# What Keras writes to keras.json by itself on its first import, whatever backend is in use. A file
# that says no more than this is nobody's choice.
_KERAS_DEFAULTS = {
    "floatx": "float32",
    "epsilon": 1e-07,
    "backend": "tensorflow",
    "image_data_format": "channels_last",
}


def choose_backend() -> str | None:
    """Set `KERAS_BACKEND` if the user has chosen no backend; return what was set.

    The user's choice is, in this order: Keras is imported already; `KERAS_BACKEND` is set;
    `keras.json` names a backend that is installed and is not the file Keras writes by itself.
    Otherwise: JAX, unless only another backend is installed. Returns None when nothing was set.
    """
    if "keras" in sys.modules or os.environ.get("KERAS_BACKEND") or _configured_backend():
        return None
    backend = preferred_backend(_is_installed)
    if backend is not None:
        os.environ["KERAS_BACKEND"] = backend
    return backend


def preferred_backend(is_installed: Callable[[str], bool]) -> str | None:
    """The first of `BACKENDS` that is installed, or None."""
    return next((name for name in BACKENDS if is_installed(name)), None)


def _configured_backend() -> str | None:
    """The backend that the user wrote into keras.json, if it is installed."""
    try:
        config = json.loads(_keras_json().read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(config, dict) or config == _KERAS_DEFAULTS:
        return None
    backend = config.get("backend")
    return backend if isinstance(backend, str) and _is_installed(backend) else None


def _keras_json() -> Path:
    """Where Keras looks for its configuration file."""
    if home := os.environ.get("KERAS_HOME"):
        return Path(home).expanduser() / "keras.json"
    base = Path("~").expanduser()
    return (base if os.access(base, os.W_OK) else Path("/tmp")) / ".keras" / "keras.json"


def _is_installed(name: str) -> bool:
    if name == "numpy":  # a Keras backend that every installation has
        return True
    return name in BACKENDS and find_spec(name) is not None
