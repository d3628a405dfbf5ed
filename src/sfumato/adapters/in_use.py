"""The LoRAs of the requests of one model: read once, merged when a request needs others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sfumato.adapters.lora import Lora, read_lora
from sfumato.adapters.merging import Merger, Use
from sfumato.adapters.names import Networks
from sfumato.networks.configs import UNetConfig
from sfumato.request import RequestError

PARTS = {"unet": "diffusion_model"}  # a checkpoint's name of a part -> ours, if it is another

Loras = tuple[tuple[str, Any], ...]
"""Paths of files, each with its weight or (part, weight) pairs."""


class LorasInUse:
    """What is merged into the networks of a model at the moment.

    Args:
        parts: the model's.
    """

    def __init__(self, parts: Any) -> None:
        self.parts = parts
        self.merger = Merger()
        self.merged: Loras = ()
        self.known: dict[tuple[Any, ...], Lora] = {}

    @contextmanager
    def of(self, loras: Loras) -> Iterator[None]:
        """A moment in which these LoRAs are merged, and no other thread merges others."""
        with self.parts.lock:
            if loras != self.merged:
                self.use(loras)
            yield

    def use(self, loras: Loras) -> None:
        """Merge these LoRAs in place of those that are there; none: the weights are as they were.

        Raises:
            CheckpointError: a file is no LoRA for this model; the weights are as they were.
        """
        if not loras and not self.merged:
            return
        with self.parts.lock:
            self.merged = ()
            uses = [Use(self.read(path), plain(weights)) for path, weights in loras]
            touched = sorted({part for use in uses for part in use.lora.updates})
            networks = {part: getattr(self.parts, PARTS.get(part, part)) for part in touched}
            self.merger.merge(networks, uses, self.parts.model.checkpoint.parts)
            self.merged = loras

    def read(self, path: str) -> Lora:
        """The LoRA of a file, which is read again when the file or a network is another one."""
        encoders = (self.parts.text_encoder, self.parts.text_encoder_2)
        configs = [getattr(x, "config", None) for x in (self.parts.diffusion_model, *encoders)]
        if not isinstance(configs[0], UNetConfig):
            must = "be left out for a denoiser that is no U-Net of Stable Diffusion"
            raise RequestError("loras", must, path)
        state = Path(path).stat()
        key = (path, state.st_mtime_ns, state.st_size, *configs)
        if key not in self.known:
            self.known[key] = read_lora(path, Networks(*configs))
        return self.known[key]


def plain(weights: float | Sequence[tuple[str, float]]) -> Any:
    """The weights as ``Use`` has them."""
    return weights if isinstance(weights, (int, float)) else dict(weights)
