"""Paints with small models and stores what came out: ``python paint.py OUT JIT FOLDER...``.

Run in a process of its own for each backend, which ``KERAS_BACKEND`` names.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import keras
import numpy as np
from keras import ops

from sfumato import runtime
from sfumato.adapters.embedding import Embedding
from sfumato.encoding import text_widths
from sfumato.networks.configs import TinyAutoencoderConfig
from sfumato.networks.layers import timestep_embedding
from sfumato.networks.tiny import TinyImageDecoder
from sfumato.stable_diffusion import StableDiffusion

PROMPT, NEGATIVE = "a red apple on a table", "blurry"


def paint(folder: str, jit_compile: bool) -> dict[str, np.ndarray]:
    """Networks of a model by themselves, and whole pictures.

    Of a 1.x all networks and all that changes a picture; of others what differs between families.
    """
    model, family = StableDiffusion(64, 48, jit_compile, preset=folder), Path(folder).name
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (64, 48, 3)).astype("float32")
    settings = {"num_steps": 4, "verbose": False, "seed": 2**40 + 1}
    results = {"context": model.encode_text(PROMPT), "pooled": model.pool_text(PROMPT)}

    unet = model.diffusion_model
    x = random.standard_normal((1, 8, 6, 4)).astype("float32")
    inputs = [x, ops.convert_to_numpy(timestep_embedding(np.array([500.0]), 32))]
    inputs.append(results["context"])
    if width := unet.config.added_width:
        inputs.append(random.standard_normal((1, width)).astype("float32"))

    def run(network, *inputs: np.ndarray) -> np.ndarray:
        call = (lambda *x: network(list(x))) if len(inputs) > 1 else network
        return ops.convert_to_numpy(runtime.compile(call, [network], jit_compile)(*inputs))

    results["unet"] = run(unet, *inputs)
    results["picture"] = model.text_to_image(PROMPT, NEGATIVE, sampler="dpmpp_2m", **settings)
    widths = text_widths(model.parts)
    results["picture of several prompts by all rules"] = model.text_to_image(
        "a (red:1.4) apple BREAK [boat:ship:2] AND (night:0.8):0.5",
        NEGATIVE,
        pag_scale=1.0,
        apg="on",
        freeu="on",
        prompt_syntax="a1111",
        embeddings={"apple": Embedding(tuple(np.ones((2, w), "float32") for w in widths))},
        emphasis="no_norm",  # the mean of these vectors is zero, and no ratio of means says much
        **settings,
    )
    if family == "xl":
        return results
    results["decoder"] = run(model.decoder, x)
    results["image_encoder"] = run(model.image_encoder, picture[None] / 127.5 - 1)
    tiny = TinyImageDecoder(TinyAutoencoderConfig(8))
    tiny.initialize(0)
    results["tiny decoder"] = run(tiny, x)
    results["random picture"] = model.text_to_image(PROMPT, sampler="euler_a", **settings)
    results["unguided picture"] = model.text_to_image(
        PROMPT, unconditional_guidance_scale=1.0, **settings
    )
    results["picture with less work"] = model.text_to_image(
        PROMPT, guidance_interval=(0.0, 0.5), feature_reuse=2, token_merging=0.5, **settings
    )
    results["from a picture"] = model.image_to_image(PROMPT, picture, 0.5, **settings)
    return results


if __name__ == "__main__":
    out, jit_compile, *folders = sys.argv[1:]
    if keras.backend.backend() == "torch":
        import_module("sfumato.runtime.torch").EAGER = 0  # as in a process of many pictures
    np.savez(
        out,
        **{
            f"{Path(folder).name} {name}": value
            for folder in folders
            for name, value in paint(folder, jit_compile == "jit").items()
        },
    )
