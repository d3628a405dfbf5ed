"""Pictures as prompts: what IP-Adapters make of them, for the denoiser to attend to."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from sfumato import programs, runtime
from sfumato.adapters.ip_adapter import encoder_places, find_encoder, read_ip_adapter
from sfumato.checkpoints.filling import fill
from sfumato.checkpoints.tensors import CheckpointError
from sfumato.finite import NotFiniteError, unsound_weight
from sfumato.networks.configs import UNetConfig
from sfumato.networks.denoiser import Conditioning
from sfumato.networks.ip_adapter import IPAdapter, IPAdapterConfig
from sfumato.networks.vision import VisionEncoder
from sfumato.parts import Parts
from sfumato.pictures.clip import as_seen
from sfumato.pictures.pixels import digest
from sfumato.request import Request, RequestError
from sfumato.request.image_prompts import ImagePrompt


class Loaded(NamedTuple):
    """The programs of an IP-Adapter and its encoder, and what they have seen."""

    config: IPAdapterConfig
    size: int
    """Of the pictures that the encoder sees, in pixels along one side."""
    look: runtime.Program
    remember: runtime.Program
    seen: dict[str, np.ndarray]
    """The features (1, T, P) of each picture by its digest, "" of no picture."""

    def features(self, pixels: np.ndarray) -> np.ndarray:
        """The features of a picture, uint8 (H, W, 3)."""
        key = digest(pixels)
        if key not in self.seen:
            self.seen[key] = self.of(as_seen(pixels, self.size))
        return self.seen[key]

    def nothing(self) -> np.ndarray:
        """The features of no picture: zeros, or those of a grey one where patches are read."""
        if "" not in self.seen:
            if self.config.kind == "base":
                self.seen[""] = np.zeros((1, 1, self.config.features), "float32")
            else:
                self.seen[""] = self.of(np.zeros((1, self.size, self.size, 3), "float32"))
        return self.seen[""]

    def of(self, pixels: np.ndarray) -> np.ndarray:
        found = ops.convert_to_numpy(self.look(pixels, patches=self.config.kind != "base"))
        if not np.isfinite(found).all():
            raise NotFiniteError("The encoder of pictures gives numbers that are not finite.")
        return found


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
            features = [net.features(prompt.image), *([net.nothing()] if silent else [])]
            given = np.concatenate(features), np.float32(prompt.weight)
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
    files = [Path(prompt.file), *encoder_places(prompt.file, prompt.encoder)]
    files = [
        each for file in files for each in (sorted(file.iterdir()) if file.is_dir() else [file])
    ]
    states = tuple((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files)
    base = getattr(parts.diffusion_model, "config", None)
    return states, base, parts.jit_compile


def _load(parts: Parts, prompt: ImagePrompt) -> Loaded:
    base = getattr(parts.diffusion_model, "config", None)
    if not isinstance(base, UNetConfig):
        must = "be left out for a denoiser that is no U-Net of Stable Diffusion"
        raise RequestError("image_prompts", must, type(parts.diffusion_model).__name__)
    config, tensors = read_ip_adapter(prompt.file, base)
    seen_by = find_encoder(prompt.file, config, prompt.encoder)
    adapter = IPAdapter(config, parts.dtype_policy)
    encoder = VisionEncoder(seen_by.config, parts.dtype_policy)
    try:
        fill(adapter, tensors)
        fill(encoder, seen_by.tensors)
    except CheckpointError as error:
        raise CheckpointError(
            f"`{prompt.file}` is no IP-Adapter for this model. {error}"
        ) from error
    if weight := unsound_weight(adapter):
        raise CheckpointError(f"The weight `{weight[0]}` of `{prompt.file}` is {weight[1]}.")
    look, remember = (
        parts.compile(function, network)
        for function, network in ((programs.look, encoder), (programs.remember, adapter))
    )
    return Loaded(config, seen_by.config.size, look, remember, {})
