"""Choosing the Keras backend for a user who has not.

Keras fixes its backend when it is first imported and falls back to TensorFlow, installed or not.
Sfumato asks for OpenVINO where there is only a CPU and for JAX elsewhere. Looking costs a few file
lookups; no backend is imported and no device initialised.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

# In the order in which Sfumato wants them. All but the last also train.
BACKENDS = ("jax", "tensorflow", "torch", "openvino")

# JAX finds its accelerators through these packages.
PLUGINS = ("jax_plugins", "libtpu")
# Of its driver, the last in Windows' Linux, where every machine has a /dev/dxg.
NVIDIA = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/usr/lib/wsl/lib/libcuda.so.1")

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
    Otherwise: see `preferred_backend`. Returns None when nothing was set.
    """
    if "keras" in sys.modules or os.environ.get("KERAS_BACKEND") or _configured_backend():
        return None
    backend = preferred_backend(_is_installed, has_accelerator())
    if backend is not None:
        os.environ["KERAS_BACKEND"] = backend
    return backend


def preferred_backend(is_installed: Callable[[str], bool], accelerator: bool) -> str | None:
    """The first of `BACKENDS` that is installed, or None; before all, OpenVINO on a mere CPU."""
    order = BACKENDS if accelerator else ("openvino", *BACKENDS)
    return next((name for name in order if is_installed(name)), None)


def has_accelerator() -> bool:
    """Whether JAX has an accelerator's plugin or an NVIDIA GPU is visible.

    With the GPU but without the plugin, JAX runs on the CPU and says what is missing.
    """
    return any(find_spec(name) for name in PLUGINS) or any(map(os.path.exists, NVIDIA))


def import_keras(alone: bool = False) -> None:
    """Import Keras without what it loads for nothing, half of its two seconds.

    Under OpenVINO that is `scipy.signal` for two window functions, which SciPy loads when one of
    them is used, and JAX, to mend a version older than ours. ``alone``: nobody but Sfumato uses
    Keras in this process, so its wrappers and plots need neither scikit-learn nor Matplotlib.
    """
    hidden: dict[str, ModuleType | None] = {}
    if os.environ.get("KERAS_BACKEND") == "openvino":
        hidden |= {"scipy.signal": ModuleType("scipy.signal"), "jax": None}
        if os.path.expanduser("~") == "~":
            hidden["openvino_telemetry"] = None  # fails where a user has no home
    if alone:
        hidden |= {"sklearn": None, "matplotlib": None}
    if hidden and "keras" not in sys.modules:
        with _instead(hidden):
            import_module("keras")


@contextmanager
def _instead(modules: dict[str, Any]) -> Iterator[None]:
    """Let imports find these modules, unless they were imported before; None: nothing."""
    new = {name: module for name, module in modules.items() if name not in sys.modules}
    sys.modules.update(new)
    try:
        yield
    finally:
        for name in new:
            del sys.modules[name]


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
    """The configuration file that Keras looks for."""
    if home := os.environ.get("KERAS_HOME"):
        return Path(os.path.expanduser(home)) / "keras.json"
    base = Path(os.path.expanduser("~"))  # as Keras does it: "~" where there is no home
    return (base if os.access(base, os.W_OK) else Path("/tmp")) / ".keras" / "keras.json"


def _is_installed(name: str) -> bool:
    if name == "numpy":  # a Keras backend that every installation has
        return True
    return name in BACKENDS and find_spec(name) is not None
