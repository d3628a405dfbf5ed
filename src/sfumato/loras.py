"""The LoRAs of the requests of one model: read once, merged when a request needs others.

What reads and merges them is imported with the first one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sfumato.networks.configs import UNetConfig
from sfumato.request import RequestError

if TYPE_CHECKING:
    from sfumato.adapters.embedding import Embedding
    from sfumato.adapters.lora import Lora
    from sfumato.adapters.merging import Merger, Use
    from sfumato.adapters.names import Networks

ENCODERS = ("text_encoder", "text_encoder_2")
NETWORKS = {"unet": "diffusion_model"}  # a checkpoint's name of a part -> ours, if it is another

Loras = tuple[tuple[str, Any], ...]
"""Paths of files, each with its weight or (part, weight) pairs."""


class LorasInUse:
    """What is merged into the networks of a model at the moment.

    Args:
        parts: the model's.
    """

    def __init__(self, parts: Any) -> None:
        self.parts = parts
        self.lock = threading.RLock()
        self.merger: Merger | None = None
        self.merged: Loras = ()
        self.known: dict[tuple[Any, ...], Lora] = {}

    @contextmanager
    def of(self, loras: Loras) -> Iterator[None]:
        """A moment in which these LoRAs are merged, and no other thread merges others.

        It is as long as one call of a program, so that streams with different LoRAs may be read by
        turns, and by several threads.
        """
        with self.lock:
            self.use(self.own() + loras)
            yield

    def own(self) -> Loras:
        """The LoRA that is part of the model."""
        path = self.parts.model.lora
        return ((str(path), 1.0),) if path else ()

    def use(self, loras: Loras) -> None:
        """Merge these LoRAs in place of those that are there; none: the weights are as they were.

        Raises:
            CheckpointError: a file is no LoRA for this model; nothing has changed.
            RequestError: there is a weight for a part that the model has not, or the model is none
                of Stable Diffusion.
        """
        with self.lock:
            if loras == self.merged:
                return
            from sfumato.adapters.merging import Merger

            networks = self.networks() if loras else None
            uses = [self.read(path, weights, networks) for path, weights in loras if networks]
            touched = sorted({part for use in uses for part in use.lora.updates})
            changed = {part: getattr(self.parts, NETWORKS.get(part, part)) for part in touched}
            self.merged = ()  # should the next line fail
            self.merger = self.merger or Merger()
            self.merger.merge(changed, uses, self.parts.model.checkpoint.parts)
            self.merged = loras

    def words(self, loras: Loras) -> dict[str, Embedding]:
        """The learned words in the files of these LoRAs; of several the first one counts."""
        if not loras:
            return {}
        from sfumato.adapters.embedding import Embedding

        words: dict[str, Embedding] = {}
        with self.lock:
            networks = self.networks()
            for path, weights in loras:
                for word, parts in self.read(path, weights, networks).lora.words.items():
                    vectors = tuple(np.asarray(parts[n], "float32") for n in ENCODERS if n in parts)
                    words.setdefault(word, Embedding(vectors, token=word))
        return words

    def networks(self) -> Networks:
        """The configurations of the model's networks."""
        from sfumato.adapters.names import Networks

        encoders = (self.parts.text_encoder, self.parts.text_encoder_2)
        unet, *texts = (getattr(x, "config", None) for x in (self.parts.diffusion_model, *encoders))
        if not isinstance(unet, UNetConfig):
            must = "be left out for a denoiser that is no U-Net of Stable Diffusion"
            raise RequestError("loras", must, type(self.parts.diffusion_model).__name__)
        return Networks(unet, *texts)

    def read(
        self, path: str, weights: float | Sequence[tuple[str, float]], networks: Networks
    ) -> Use:
        """The LoRA of a file, which is read again when the file or a network is another one."""
        from sfumato.adapters.lora import read_lora
        from sfumato.adapters.merging import Use

        state = Path(path).stat()
        key = (path, state.st_mtime_ns, state.st_size, networks)
        if key not in self.known:
            self.known[key] = read_lora(path, networks)
        if isinstance(weights, (int, float)):
            return Use(self.known[key], weights)
        for place, _ in weights:
            if not networks.has(place):
                must = "have weights for unet, text, or blocks such as down_blocks.1 or mid_block"
                raise RequestError("loras", must, f"{place!r} for {path}")
        return Use(self.known[key], dict(weights))
