"""KerasCV 0.9 on TensorFlow: the predecessor, with the random weights that it draws itself.

Its networks are built by its own classes without their downloads; the tokenizer, whose vocabulary
would be downloaded, is replaced by one of the same length of output.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import benchmarks.peers.common as common

TOKENS = 77


class Tokenizer:
    """The start of text and seven words."""

    def encode(self, text: str) -> list[int]:
        return [49406, *range(320, 327)]


class Runner(common.Runner):
    def __init__(self, jit_compile: bool = False) -> None:
        self.jit_compile = jit_compile

    def load_libraries(self) -> None:
        import keras_cv

        keras_cv.models.StableDiffusion  # noqa: B018 (imported lazily)

    def load_model(self) -> None:
        import keras
        from keras_cv.src.models import StableDiffusion
        from keras_cv.src.models.stable_diffusion.decoder import Decoder
        from keras_cv.src.models.stable_diffusion.diffusion_model import DiffusionModel
        from keras_cv.src.models.stable_diffusion.text_encoder import TextEncoder

        c = self.case
        keras.mixed_precision.set_global_policy(c.dtype)
        model = StableDiffusion(c.size, c.size, jit_compile=self.jit_compile)
        model._tokenizer = Tokenizer()
        model._text_encoder = TextEncoder(TOKENS, download_weights=False)
        model._diffusion_model = DiffusionModel(c.size, c.size, TOKENS, download_weights=False)
        model._decoder = Decoder(c.size, c.size, download_weights=False)
        for network in (model._text_encoder, model._diffusion_model, model._decoder):
            network.compile(jit_compile=self.jit_compile)
        self.model = model

    def make_pictures(self) -> Any:
        c = self.case
        return self.model.text_to_image(
            common.PROMPT, batch_size=c.batch, num_steps=c.steps, seed=1
        )

    def prepare_step(self) -> Callable[[], None]:
        """Two evaluations, without and with the prompt, and DDIM's update, as its loop does."""
        import numpy as np

        c, width = self.case, self.case.size // 8
        inputs = {
            "latent": np.random.default_rng(0).standard_normal(
                (c.batch, width, width, 4), "float32"
            ),
            "timestep_embedding": np.zeros((c.batch, 320), "float32"),
            "context": np.zeros((c.batch, TOKENS, 768), "float32"),
        }

        def step() -> None:
            negative = np.asarray(self.model.diffusion_model.predict_on_batch(inputs))
            positive = np.asarray(self.model.diffusion_model.predict_on_batch(inputs))
            y = negative + 7.5 * (positive - negative)
            (inputs["latent"] - 0.5 * y) / 0.8 + 0.3 * y

        return step

    def watch(self) -> None:
        model, clock = self.model, self.clock
        for name, network in (
            ("text", model.text_encoder),
            ("step", model.diffusion_model),
            ("decode", model.decoder),
        ):
            network.predict_on_batch = clock.wrap(name, network.predict_on_batch)
