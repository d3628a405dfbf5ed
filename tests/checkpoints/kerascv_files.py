"""Writes true KerasCV .h5 files: a program of its own, because KerasCV changes its process.

KerasCV's own classes make the networks, at a fraction of their width: they have their sizes in the
code, so their constructors are shown narrower layers of the same kinds. The order in the file is
that of the real files. Beside each file goes what the network makes of a known input.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import FunctionType

import h5py
import keras
import numpy as np
from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group
from keras_cv.models.stable_diffusion import (
    Decoder,
    DiffusionModel,
    ImageEncoder,
    TextEncoder,
)
from keras_cv.src.models.stable_diffusion import decoder, diffusion_model
from keras_cv.src.models.stable_diffusion import text_encoder as text
from keras_cv.src.models.stable_diffusion.text_encoder import TextEncoderV2

LENGTH = 77


def narrower(kind, divisor: int):
    """A layer class whose first argument, its width, is divided; up to 8 stays as it is."""

    def make(width, *args, **kwargs):
        return kind(width if width <= 8 else width // divisor, *args, **kwargs)

    return make


class Narrow:
    """A module in which some names mean something else."""

    def __init__(self, module, **replaced) -> None:
        self.__dict__.update(replaced)
        self.module = module

    def __getattr__(self, name: str):
        return getattr(self.module, name)


def construct(kind: type[keras.Model], *arguments, **replaced) -> keras.Model:
    """An instance of ``kind`` whose constructor, and nothing else, sees other layers."""
    whole = kind.__init__
    kind.__init__ = FunctionType(
        whole.__code__,
        {**whole.__globals__, **replaced},
        whole.__name__,
        whole.__defaults__,
        whole.__closure__,
    )
    try:
        return kind(*arguments, download_weights=False)
    finally:
        kind.__init__ = whole


def unet(kind: type[keras.Model], head_width: int | None) -> keras.Model:
    """With 8 heads, or with as many of a width as there is room for."""

    def input_of(shape, **options):
        return keras.layers.Input((32,) if shape == (320,) else shape, **options)

    def transformer(count, width, **options):
        width = count * width // 10
        heads = max(1, width // head_width) if head_width else 8
        return diffusion_model.SpatialTransformer(heads, width // heads, **options)

    dense = narrower(keras.layers.Dense, 10)
    return construct(
        kind,
        *(128, 128, LENGTH),
        keras=Narrow(keras, layers=Narrow(keras.layers, Dense=dense, Input=input_of)),
        SpatialTransformer=transformer,
        ResBlock=narrower(diffusion_model.ResBlock, 10),
        PaddedConv2D=narrower(diffusion_model.PaddedConv2D, 10),
        Upsample=narrower(diffusion_model.Upsample, 10),
    )


def autoencoder(kind: type[keras.Model], *sizes: int) -> keras.Model:
    names = ("PaddedConv2D", "ResnetBlock", "AttentionBlock")
    return construct(kind, *sizes, **{n: narrower(getattr(decoder, n), 4) for n in names})


def text_encoder(kind: type[keras.Model], heads: int) -> keras.Model:
    return construct(
        kind,
        *(LENGTH, 48),
        CLIPEmbedding=lambda size, _, length: text.CLIPEmbedding(size, 64, length),
        CLIPEncoderLayer=lambda _, __, **options: text.CLIPEncoderLayer(64, heads, **options),
    )


def networks(version: str) -> dict[str, tuple[keras.Model, list[np.ndarray]]]:
    """Every file's network and a batch of what it takes."""
    random = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return random.standard_normal(shape, "float32")

    tokens = random.integers(0, 48, (1, LENGTH)).astype("int32")
    words = [tokens, np.arange(LENGTH, dtype="int32")[None]]
    latent = normal(1, 16, 16, 4)
    if version == "v2":
        return {
            "text_encoder_v2_1": (text_encoder(TextEncoderV2, 1), words),
            "diffusion_model_v2_1": (
                unet(diffusion_model.DiffusionModelV2, 64),
                [latent, normal(1, 32), normal(1, LENGTH, 1024)],
            ),
        }
    return {
        "kcv_encoder": (text_encoder(TextEncoder, 2), words),
        "kcv_diffusion_model": (
            unet(DiffusionModel, None),
            [latent, normal(1, 32), normal(1, LENGTH, 768)],
        ),
        "kcv_decoder": (autoencoder(Decoder, 128, 128), [latent]),
        "vae_encoder": (autoencoder(ImageEncoder), [normal(1, 64, 64, 3)]),
    }


def main(folder: Path) -> None:
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(1)
    folder.mkdir()
    for name, (model, inputs) in networks(folder.name).items():
        for variable in model.weights:  # zeros and ones of norms and biases would hide mistakes
            if len(variable.shape) == 1:
                variable.assign(variable + 0.1 * random.standard_normal(variable.shape, "float32"))
        with h5py.File(folder / f"{name}.h5", "w") as file:
            save_weights_to_hdf5_group(file, model)
        output = model(inputs if len(inputs) > 1 else inputs[0])
        np.savez(folder / f"{name}.npz", *inputs, output=keras.ops.convert_to_numpy(output))


if __name__ == "__main__":
    for folder in sys.argv[1:]:
        main(Path(folder))
