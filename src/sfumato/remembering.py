"""Pictures as prompts: what IP-Adapters make of them, for the denoiser to attend to."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from sfumato import programs, runtime
from sfumato.adapters.ip_adapter import encoder_places, find_encoder, read_ip_adapter
from sfumato.attached import States, give_weights, states_of, unet_for
from sfumato.checkpoints.vision import VisionFile
from sfumato.finite import NotFiniteError
from sfumato.networks.denoiser import Conditioning
from sfumato.networks.ip_adapter import IPAdapter, IPAdapterConfig
from sfumato.networks.vision import VisionEncoder
from sfumato.parts import Parts
from sfumato.pictures.clip import as_seen
from sfumato.pictures.pixels import digest
from sfumato.request import Request
from sfumato.request.image_prompts import ImagePrompt

KEPT = 32
"""Pictures whose features are kept, of about a megabyte each."""


class Seeing(NamedTuple):
    """An encoder of pictures, and what it has seen."""

    states: States
    """Of its files."""
    size: int
    """Of the pictures that it sees, in pixels along one side."""
    look: runtime.Program
    seen: dict[tuple[str, bool], np.ndarray]
    """The features of pictures by digest, and whether they are those of patches."""

    def __call__(self, pixels: np.ndarray | None, patches: bool) -> np.ndarray:
        """The features (1, T, P) of a picture, uint8 (H, W, 3); None: of a grey one."""
        key = "" if pixels is None else digest(pixels), patches
        found = self.seen.get(key)
        if found is None:
            size = self.size
            x = np.zeros((1, size, size, 3), "float32") if pixels is None else as_seen(pixels, size)
            found = ops.convert_to_numpy(self.look(x, patches=patches))
            if not np.isfinite(found).all():
                raise NotFiniteError("The encoder of pictures gives numbers that are not finite.")
            if len(self.seen) >= KEPT:
                self.seen.clear()
            self.seen[key] = found
        return found


class Loaded(NamedTuple):
    """An IP-Adapter, and what sees for it."""

    config: IPAdapterConfig
    see: Seeing
    remember: runtime.Program

    def features(self, pixels: np.ndarray | None) -> np.ndarray:
        """What the adapter reads of a picture; None: of no picture."""
        if pixels is None and self.config.kind == "base":
            return np.zeros((1, 1, self.config.features), "float32")
        return self.see(pixels, self.config.kind != "base")


class Remembered:
    """Adds the memories of pictures to what the denoiser attends to."""

    def __init__(self, loaded: list[Loaded], prompts: list[ImagePrompt]) -> None:
        self.loaded, self.prompts = loaded, prompts

    def __call__(self, conditioning: Conditioning, asked: int) -> Conditioning:
        """The conditioning with the pictures in its first rows, and no picture in the others."""
        silent = conditioning.batch - asked
        layers = [[*layer] for layer in conditioning.memories]
        for net, prompt in zip(self.loaded, self.prompts, strict=True):
            assert prompt.image is not None
            shown = [prompt.image, *([None] if silent else [])]
            features = np.concatenate([net.features(pixels) for pixels in shown])
            given = features, np.float32(prompt.weight)
            found = net.remember(*given, asked=asked, silent=silent)
            for layer, memory in zip(layers, found, strict=True):
                layer.append(memory)
        return conditioning._replace(memories=layers)


def load_image_prompts(parts: Parts, request: Request) -> Remembered | None:
    """What remembers the pictures of a request; None: there are none.

    The networks that it does not use are let go. A picture of weight 0 is left out.

    Raises:
        CheckpointError: a file is no IP-Adapter for this model, or its encoder is missing.
        RequestError: the model's denoiser is no U-Net of Stable Diffusion.
    """
    prompts = [prompt for prompt in request.image_prompts if prompt.weight]
    with parts.lock:
        keys = [_key(parts, prompt) for prompt in prompts]
        kept = parts.image_prompts
        parts.image_prompts = {key: kept[key] for key in keys if key in kept}
        for key, prompt in zip(keys, prompts, strict=True):
            if key not in parts.image_prompts:
                parts.image_prompts[key] = _load(parts, prompt)
        loaded = [parts.image_prompts[key] for key in keys]
    return Remembered(loaded, prompts) if prompts else None


def _key(parts: Parts, prompt: ImagePrompt) -> tuple[Any, ...]:
    """The files, and all that makes other networks or other programs of them."""
    states = states_of(Path(prompt.file), *encoder_places(prompt.file, prompt.encoder))
    return states, getattr(parts.diffusion_model, "config", None), parts.jit_compile


def _load(parts: Parts, prompt: ImagePrompt) -> Loaded:
    config, tensors = read_ip_adapter(prompt.file, unet_for(parts, "image_prompts"))
    place, file = find_encoder(prompt.file, config, prompt.encoder)
    adapter = IPAdapter(config, parts.dtype_policy)
    give_weights(adapter, tensors, prompt.file, "IP-Adapter for this model")
    return Loaded(config, _see(parts, place, file), parts.compile(programs.remember, adapter))


def _see(parts: Parts, place: Path, file: VisionFile) -> Seeing:
    """The encoder of a file or folder, which several adapters may share."""
    states = states_of(place)
    for each in parts.image_prompts.values():
        if each.see.states == states:
            return each.see
    encoder = VisionEncoder(file.config, parts.dtype_policy)
    give_weights(encoder, file.tensors, place, "encoder of pictures")
    return Seeing(states, file.config.size, parts.compile(programs.look, encoder), {})
