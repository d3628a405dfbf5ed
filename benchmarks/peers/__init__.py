"""Who is measured: one row for each peer, and where its runner is."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from benchmarks.records import accelerator


@dataclass(frozen=True)
class Peer:
    """A way to make pictures that can be measured.

    Attributes:
        name: of the peer.
        module: of ``benchmarks.peers``, which has the ``Runner``.
        needs: packages that must be installed.
        options: arguments of the runner.
        environment: variables of its process.
        devices: where it is measured unless it is asked for by name.
        models: what it can run; none: every model.
        suites: that it takes part in unless it is asked for by name; none: every suite.
    """

    name: str
    module: str
    needs: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    devices: tuple[str, ...] = ("cpu", "accelerator")
    models: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()

    @property
    def is_installed(self) -> bool:
        return all(find_spec(package) is not None for package in self.needs)


def _keras(backend: str) -> dict[str, str]:
    return {"KERAS_BACKEND": backend}


ROWS = (
    Peer(
        "sfumato jax",
        "ours",
        ("jax",),
        # Else it would take most of the device's memory and leave the others too little.
        environment={**_keras("jax"), "XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
    ),
    Peer(
        "sfumato openvino", "ours", ("openvino",), environment=_keras("openvino"), devices=("cpu",)
    ),
    Peer(
        "sfumato tensorflow", "ours", ("tensorflow",), environment=_keras("tensorflow"), devices=()
    ),
    Peer("sfumato torch", "ours", ("torch",), environment=_keras("torch"), devices=()),
    Peer("ceiling jax", "ceiling", ("jax",), {"framework": "jax"}, devices=()),
    Peer("ceiling torch", "ceiling", ("torch",), {"framework": "torch"}, devices=()),
    Peer("ceiling openvino", "ceiling", ("openvino",), {"framework": "openvino"}, devices=()),
    Peer("diffusers", "diffusers", ("diffusers", "transformers", "torch")),
    Peer(
        "diffusers channels_last",
        "diffusers",
        ("diffusers", "transformers", "torch"),
        {"channels_last": True},
        suites=("step", "guide", "gpu"),
    ),
    Peer(
        "diffusers compiled",
        "diffusers",
        ("diffusers", "transformers", "torch"),
        {"channels_last": True, "compiled": True},
        suites=("step", "guide"),
    ),
    Peer(
        "diffusers openvino",
        "diffusers",
        ("diffusers", "transformers", "torch", "openvino"),
        {"openvino": True},
        devices=("cpu",),
        # Its networks are converted here in the same process, so its start and memory say little.
        suites=("step", "guide"),
    ),
    Peer(
        "kerascv graph",
        "kerascv",
        ("keras_cv", "tensorflow"),
        environment=_keras("tensorflow"),
        models=("sd1.5",),
        suites=("step", "guide", "cold", "memory"),
    ),
    Peer(
        "kerascv xla",
        "kerascv",
        ("keras_cv", "tensorflow"),
        {"jit_compile": True},
        _keras("tensorflow"),
        models=("sd1.5",),
        suites=("step", "guide", "cold", "memory"),
    ),
    Peer(
        "zeromodels jax",
        "zeromodels",
        ("zeromodels", "diffusers", "transformers", "torch"),
        environment={**_keras("jax"), "XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
        models=("sd1.5", "tiny"),
        suites=("step", "guide"),
    ),
    Peer(
        "zeromodels torch",
        "zeromodels",
        ("zeromodels", "diffusers", "transformers", "torch"),
        environment=_keras("torch"),
        models=("sd1.5", "tiny"),
        suites=("step", "guide"),
    ),
)
PEERS = {row.name: row for row in ROWS}


def choose(names: str | None, model: str, suite: str) -> list[str]:
    """The peers to measure: those named (comma-separated), else the installed ones of the suite.

    Raises:
        SystemExit: a name is unknown or its packages are missing.
    """
    if names:
        chosen = [name.strip() for name in names.split(",")]
        for name in chosen:
            if name not in PEERS:
                raise SystemExit(f"A peer must be one of {', '.join(PEERS)}. Received: {name}")
            if not PEERS[name].is_installed:
                raise SystemExit(f"{name} needs {', '.join(PEERS[name].needs)} to be installed.")
        return [name for name in chosen if not PEERS[name].models or model in PEERS[name].models]
    device = "accelerator" if accelerator() else "cpu"
    return [
        peer.name
        for peer in ROWS
        if device in peer.devices
        and peer.is_installed
        and (not peer.suites or suite in peer.suites)
        and (not peer.models or model in peer.models)
    ]
