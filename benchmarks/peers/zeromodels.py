"""ZeroModels' Stable Diffusion on Keras 3, with the same weights.

They come through its own converter, which reads them with diffusers, so the time of loading is not
that of a file of its own and cold starts are not measured. Its sampler is Euler's: the ones that
the others use it does not have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import benchmarks.peers.common as common

CONVERTER = "zeromodels.diffusers.stable_diffusion.convert_stable_diffusion_diffusers_to_keras"


class Runner(common.Runner):
    def load_libraries(self) -> None:
        from importlib import import_module

        from zeromodels.base.base_scheduler import EulerDiscreteScheduler

        self.convert = import_module(CONVERTER).transfer_stable_diffusion
        self.Scheduler = EulerDiscreteScheduler

    def load_model(self) -> None:
        import keras

        c = self.case
        keras.config.set_dtype_policy(c.dtype)
        if c.model not in ("sd1.5", "tiny"):
            raise ValueError(f"`model` must be sd1.5. Received: model={c.model}")
        self.model, config = self.convert(c.folder)
        if c.size != config.vae_config.sample_size:  # its graphs have one size
            self.model = self.resized(config)
        self.model.scheduler = self.Scheduler(steps_offset=1)

    def resized(self, config: Any) -> Any:
        """The model with its weights, built for pictures of the case's size."""
        from zeromodels.diffusers import ZMDiffusion

        c, old = self.case, self.model
        factor = config.vae_config.sample_size // config.unet_config.sample_size
        config.vae_config.sample_size = c.size
        config.unet_config.sample_size = c.size // factor
        model = ZMDiffusion(config)
        model.set_weights(old.get_weights())
        return model

    def make_pictures(self) -> Any:
        c = self.case
        return self.model.generate(
            self.tokens(), num_inference_steps=c.steps, guidance_scale=7.5, seed=1
        )

    def tokens(self) -> Any:
        import numpy as np

        text = [49406, *range(320, 327)]
        return np.array([text + [49407] * (77 - len(text))] * self.case.batch)

    def prepare_step(self) -> Callable[[], None]:
        """The body of its loop: network and guidance in one program, the sampler's update."""
        import keras
        from keras import ops
        from zeromodels.base.base_mixin import inference_scope

        c, model = self.case, self.model
        latents = keras.random.normal((c.batch, *model.latent_shape), seed=1)
        text = ops.convert_to_tensor(self.tokens())
        with inference_scope():
            positive = model.encode_prompt(text)
            negative = model.encode_negative_prompt(None, c.batch)
            text = ops.concatenate([negative, positive])
        denoise = model.cached_denoise_step(True)
        scale = ops.convert_to_tensor(7.5, dtype="float32")
        scheduler, number = model.scheduler, 0

        def step() -> None:
            nonlocal number
            if number % c.steps == 0:  # as its pipeline does before a picture
                scheduler.set_timesteps(c.steps)
            t = scheduler.timesteps[number % c.steps]
            number += 1
            with inference_scope():
                x = scheduler.scale_model_input(ops.concatenate([latents, latents]), t)
                y = denoise(x, ops.full((2 * c.batch,), float(t)), text, scale)
                self.waiting = scheduler.step(y, t, latents)

        return step

    waiting: Any = None  # the result of the last step that was sent

    def synchronise(self) -> None:
        from keras import ops

        if self.waiting is not None:
            ops.convert_to_numpy(self.waiting)
            self.waiting = None
