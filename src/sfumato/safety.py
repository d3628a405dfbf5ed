"""The safety classifier: how likely a picture is sexual, and what is done with one that is.

classes = sfumato.classify("photo.png")

Nothing of this is loaded unless it is asked for.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from PIL import Image, ImageFilter

from sfumato import kernels, runtime
from sfumato.checkpoints.safetensors import read_safetensors
from sfumato.kernels import Tensor
from sfumato.networks.network import forget_uninitialized
from sfumato.picture import Picture
from sfumato.pictures.transparency import as_layers

CLASSES = ("drawing", "hentai", "neutral", "porn", "sexy")
UNSAFE = ("hentai", "porn", "sexy")
LIMIT = 0.5
"""A picture is unsafe whose probabilities of `UNSAFE` are more than this together."""
FILE = Path(__file__).parent / "presets" / "nsfwjs" / "model.safetensors"
SIDE = 224
BLUR = 1 / 12
"""The radius of the blur, as a part of the longer side."""


def classify(image: Any) -> dict[str, float]:
    """The probability of each of `CLASSES` for a picture, by the bundled network.

    Args:
        image: a `Picture`, a file's path, one of Pillow's pictures, or an array of 0..255: (H, W),
            (H, W, 3), or (H, W, 4) with transparency, which is left out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no picture.
    """
    pixels = image.pixels if isinstance(image, Picture) else as_layers(image)[0]
    found = ops.convert_to_numpy(classifier()(resized(pixels)[None]))[0]
    return dict(zip(CLASSES, found.tolist(), strict=True))


def flagged(picture: Picture) -> Picture:
    """The picture; with a flag if it is unsafe, and blurred if its request says so."""
    found = classify(picture)
    name = max(UNSAFE, key=found.__getitem__)
    if sum(found[each] for each in UNSAFE) <= LIMIT:
        return picture
    is_blurred = picture.request.safety == "blur"
    what = "it was blurred; " if is_blurred else ""
    flag = f"looks like {name} ({found[name]:.2f}) to a classifier ({what}docs/safety.md: it errs)"
    pixels = blurred(picture.pixels) if is_blurred else picture.pixels
    return replace(picture, pixels=pixels, flags=(*picture.flags, flag))


def blurred(pixels: np.ndarray) -> np.ndarray:
    """Pixels (H, W, 3), uint8, of which only the colours of large parts are left."""
    radius = BLUR * max(pixels.shape)
    return np.array(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def resized(pixels: np.ndarray) -> np.ndarray:
    """Pixels (H, W, 3), uint8, as the network reads them: (224, 224, 3) of 0..1, float32.

    As the network's authors do it: single pixels are interpolated, from corner to corner.
    """
    from scipy.ndimage import zoom

    scales = (SIDE / pixels.shape[0], SIDE / pixels.shape[1], 1)
    return zoom(pixels / np.float32(255), scales, order=1, mode="nearest")


@lru_cache(1)
def classifier() -> runtime.Program:
    """The network as a program, loaded once: (B, 224, 224, 3) of 0..1 -> (B, 5)."""
    network = read_network()
    return runtime.compile(partial(run, network), [network], True)


def run(network: keras.Model, x: Tensor) -> Tensor:
    return network(x, training=False)


def read_network() -> keras.Model:
    """Keras' MobileNetV2 and three layers on it, with the values of the file.

    A tensor of the file is of 8 bits; `ranges` has the least value and the step of each.
    """
    network = make_network()
    tensors = read_safetensors(FILE)
    ranges = tensors.pop("ranges")
    values = {
        name: (tensors[name] * step + least).astype("float32")
        for name, (least, step) in zip(sorted(tensors), ranges, strict=True)
    }
    for variable in network.variables:
        kernels.store(variable, values[variable.path])
    return network


def make_network() -> keras.Model:
    """The network without values (Sandler et al. 2018, arXiv 1801.04381)."""
    policy, layout = keras.config.dtype_policy(), keras.config.image_data_format()
    keras.config.set_dtype_policy("float32")  # of this thread
    keras.config.set_image_data_format("channels_last")
    try:
        with keras.StatelessScope(initialize_variables=False):
            size = (SIDE, SIDE, 3)
            base = keras.applications.MobileNetV2(size, 1.0, False, None, pooling="avg")
            x = keras.layers.Dense(256, "relu", name="dense_1")(base.output)
            x = keras.layers.Dense(128, "relu", name="dense_2")(x)
            x = keras.layers.Dense(len(CLASSES), "softmax", name="dense_3")(x)
            network = keras.Model(base.input, x, name="safety_classifier")
    finally:
        keras.config.set_dtype_policy(policy)
        keras.config.set_image_data_format(layout)
    forget_uninitialized(network.variables)  # the file has their values
    return network
