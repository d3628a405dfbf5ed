"""Checkpoints of the true shapes with random weights: speed does not depend on the values.

They are written once, as diffusers folders, by repeating one block of random numbers: seconds and
the size of the files, whatever the model. The values keep activations near one, so that float16
does not overflow.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sfumato.networks.configs import (
    CLIP_L,
    OPENCLIP_BIGG,
    OPENCLIP_H,
    AutoencoderConfig,
    TextEncoderConfig,
    UNetConfig,
)

FORMAT = 2  # of the files; another number leaves older folders alone
BLOCK = 1_000_003  # random numbers that are repeated: a prime, so that no two rows are alike


@dataclass(frozen=True)
class ModelShape:
    """A model of the family as far as speed is concerned."""

    name: str
    unet: UNetConfig
    vae: AutoencoderConfig
    text_encoders: tuple[TextEncoderConfig, ...]
    size: int
    pads: tuple[str, ...] = ("<|endoftext|>",)

    @property
    def is_xl(self) -> bool:
        return len(self.text_encoders) == 2


_TINY = UNetConfig(
    channels=(32, 64),
    down=((1,), (0,)),
    mid=(1, 0),
    up=((0, 0), (1, 1)),
    heads=(4, 4),
    context_width=32,
    groups=8,
)
_TINY_XL = UNetConfig(
    channels=(32, 64),
    down=((0,), (2,)),
    mid=(2, 0),
    up=((2, 2), (0, 0)),
    heads=(2, 4),
    context_width=64,
    added_width=32 + 6 * 256,
    groups=8,
    linear_projection=True,
)
_TINY_VAE = AutoencoderConfig(channels=(16, 16, 32, 32), layers=1, groups=8)
_TINY_TEXT = TextEncoderConfig(32, 3, 4, 64)
_TINY_TEXT_2 = TextEncoderConfig(32, 3, 4, 64, "gelu", projection=32, penultimate=True)

SHAPES = (
    ModelShape("sd1.5", UNetConfig(), AutoencoderConfig(), (CLIP_L,), 512),
    ModelShape(
        "sd2.1",
        UNetConfig(heads=(5, 10, 20, 20), context_width=1024, linear_projection=True),
        AutoencoderConfig(),
        (OPENCLIP_H,),
        512,
        ("!",),
    ),
    ModelShape(
        "sdxl",
        UNetConfig(
            channels=(320, 640, 1280),
            down=((0, 0), (2, 2), (10, 10)),
            mid=(10, 0),
            up=((10, 10, 10), (2, 2, 2), (0, 0, 0)),
            heads=(5, 10, 20),
            context_width=2048,
            added_width=2816,
            linear_projection=True,
        ),
        AutoencoderConfig(scaling_factor=0.13025),
        (CLIP_L, OPENCLIP_BIGG),
        1024,
        ("<|endoftext|>", "!"),
    ),
    ModelShape(
        "bk-sdm-tiny",
        UNetConfig(
            channels=(320, 640, 1280),
            down=((1,), (1,), (1,)),
            mid=(),
            up=((1, 1), (1, 1), (1, 1)),
            heads=(8, 8, 8),
        ),
        AutoencoderConfig(),
        (CLIP_L,),
        512,
    ),
    ModelShape("tiny", _TINY, _TINY_VAE, (_TINY_TEXT,), 64),
    ModelShape(
        "tiny-xl",
        _TINY_XL,
        _TINY_VAE,
        (_TINY_TEXT, _TINY_TEXT_2),
        64,
        ("<|endoftext|>", "!"),
    ),
)
MODELS = {row.name: row for row in SHAPES}


def cache_folder() -> Path:
    """The folder of the checkpoints: ``SFUMATO_BENCHMARK_CACHE`` or the user's cache."""
    if chosen := os.environ.get("SFUMATO_BENCHMARK_CACHE"):
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("sfumato", appauthor=False) / "benchmarks"


def checkpoint(name: str, cache: Path | None = None) -> Path:
    """The diffusers folder of a model with random weights, written if it is not there."""
    folder = (cache or cache_folder()) / f"{name}-{FORMAT}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
        try:
            write(MODELS[name], partial)
            partial.replace(folder)
        except OSError:
            if not folder.exists():  # else another process was faster
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def write(model: ModelShape, folder: Path) -> None:
    """A diffusers folder of the model: float16 weights, configurations, tokenizers."""
    from sfumato.checkpoints.folders import published
    from sfumato.checkpoints.safetensors import write_safetensors
    from sfumato.checkpoints.save import SCHEDULER, file_shapes, index, settings_of
    from sfumato.networks.autoencoder import ImageDecoder, ImageEncoder
    from sfumato.networks.text_encoder import TextEncoder
    from sfumato.networks.unet import UNet
    from sfumato.presets.preset import WEIGHTS

    parts: dict[str, list[Any]] = {
        "unet": [UNet(model.unet, "float16")],
        "vae": [ImageEncoder(model.vae, "float16"), ImageDecoder(model.vae, "float16")],
    }
    for name, config in zip(("text_encoder", "text_encoder_2"), model.text_encoders, strict=False):
        parts[name] = [TextEncoder(config, "float16")]
    for part, networks in parts.items():
        settings = settings_of(networks[0])
        if part == "unet":
            settings["sample_size"] = model.size // model.vae.downsampling
            settings["layers_per_block"] = settings["layers_per_block"][0]  # as published
        write_json(folder / part / "config.json", settings)
        shapes = {name: shape for each in networks for name, shape in file_shapes(each).items()}
        tensors = RandomTensors(published(part, shapes))
        write_safetensors(folder / part / f"{WEIGHTS[part]}.safetensors", tensors)
    write_json(folder / "scheduler" / "scheduler_config.json", scheduler(SCHEDULER))
    write_json(folder / "model_index.json", completed(index(parts, SCHEDULER), model))
    for name, pad in zip(("tokenizer", "tokenizer_2"), model.pads, strict=False):
        write_tokenizer(folder / name, pad)


def scheduler(settings: Mapping[str, Any]) -> dict[str, Any]:
    """DPM++ 2M on Karras' noise levels, which is what Sfumato does by default."""
    return {**settings, "use_karras_sigmas": True, "algorithm_type": "dpmsolver++"}


def completed(settings: Mapping[str, Any], model: ModelShape) -> dict[str, Any]:
    """The index with what diffusers wants to find in it."""
    if model.is_xl:
        return {**settings, "tokenizer_2": ["transformers", "CLIPTokenizer"]}
    return {
        **settings,
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
    }


class RandomTensors(Mapping[str, np.ndarray]):
    """Tensors of the given shapes, made when they are asked for."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.shapes = shapes
        self.block = np.random.default_rng(0).standard_normal(BLOCK, "float32")

    def __getitem__(self, name: str) -> np.ndarray:
        shape = self.shapes[name]
        if len(shape) == 1:  # norms are the identity and biases are none
            return np.full(shape, name.endswith("weight"), "float16")
        scale = 0.02 if "embedding" in name else 0.7 / math.sqrt(math.prod(shape[1:]))
        return np.resize((self.block * np.float32(scale)).astype("float16"), shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def write_tokenizer(folder: Path, pad: str) -> None:
    """CLIP's vocabulary as transformers reads it."""
    from sfumato.text import vocabulary

    file = Path(vocabulary.__file__).with_name("bpe_simple_vocab_16e6.txt.gz")
    merges = gzip.decompress(file.read_bytes()).decode().split("\n")[1:48895]
    write_json(folder / "vocab.json", vocabulary.packaged().ids)
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", "utf-8")
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": pad}
    ends = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}
    write_json(folder / "tokenizer_config.json", settings | ends | {"unk_token": "<|endoftext|>"})


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
