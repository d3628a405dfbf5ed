"""Stable Diffusion, from a prompt to a picture, with the interface of KerasCV's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from sfumato import checkpoints, runtime
from sfumato.options import NotFiniteError, Options, StepEvent, check, listed, rows
from sfumato.pipeline import Pipeline

__all__ = ["NotFiniteError", "Options", "StableDiffusion", "StableDiffusionV2", "StepEvent"]

CALIBRATION = (
    "a red apple",
    "a photo of an astronaut riding a horse on the moon",
    "a landscape with mountains and a lake at sunset, oil painting",
    "a cartoon of a yellow cat on a blue background",
)
"""What ``quantize`` paints unless it is told."""


class StableDiffusion(Pipeline):
    """Text to pictures with Stable Diffusion 1.x, 2.x, XL or a model of the same make.

    The networks are loaded when they are first needed and are ordinary Keras models: ``tokenizer``,
    ``text_encoder``, ``diffusion_model``, ``decoder`` and ``image_encoder``, each of which may be
    replaced by assignment before the first picture. One thread at a time may use a model.

    Args:
        img_height: height of the pictures in pixels, a multiple of 8.
        img_width: width of the pictures in pixels, a multiple of 8.
        jit_compile: compile each program whole (XLA; under torch, inductor).
        preset: name of a preset, a diffusers folder, a checkpoint file or a Hub repository.
        dtype: a dtype or Keras dtype policy such as "mixed_float16"; default: the global policy.
        prediction: "epsilon", "v_prediction" or "sample", where the files do not tell: 2.x for 768
            pixels in a single file is "v_prediction".

    Example:
        >>> model = StableDiffusion(64, 64, preset="mini")
        >>> model.text_to_image("a red apple", seed=1, verbose=False).shape
        (1, 64, 64, 3)
    """

    @classmethod
    def from_preset(
        cls,
        preset: str,
        img_height: int | None = None,
        img_width: int | None = None,
        jit_compile: bool = True,
        dtype: Any = None,
        prediction: checkpoints.Prediction | None = None,
    ) -> StableDiffusion:
        """A model by name, folder, file or Hub repository, at the size it was made for."""
        model = checkpoints.open_model(preset, prediction=prediction)
        size = model.default_size
        return cls(img_height or size, img_width or size, jit_compile, preset=model, dtype=dtype)

    def text_to_image(
        self,
        prompt: str | Sequence[str],
        negative_prompt: str | Sequence[str] | None = None,
        batch_size: int = 1,
        num_steps: int | None = None,
        unconditional_guidance_scale: float | None = None,
        seed: int | None = None,
        *,
        diffusion_noise: np.ndarray | None = None,
        **options: Unpack[Options],
    ) -> np.ndarray:
        """Pictures of a prompt.

        Args:
            prompt: what to show; a list gives ``batch_size`` pictures of each, in order.
            negative_prompt: what to lead away from; a list has one for each prompt.
            batch_size: pictures per prompt.
            num_steps: steps of the sampler; default: the preset's, 25 for most.
            unconditional_guidance_scale: how strongly to follow the prompt; default: the preset's,
                7.5 for most. Up to 1 there is no guidance, and a step takes half the time.
            seed: picture i starts from the noise of ``seed + i``, 0 <= seed < 2**64; default: a new
                one, kept in ``last_seed``.
            diffusion_noise: start noise of unit variance, (h, w, C) for all pictures or
                (B, h, w, C), instead of a seed; h and w are an eighth of the picture's.
            options: see ``Options``.

        Returns:
            uint8 (B, img_height, img_width, 3).

        Raises:
            ValueError: an argument is out of its range.
            NotFiniteError: a number overflowed, as it may in float16.
        """
        check(batch_size, options)
        self._plan(num_steps, 1.0, options)  # complains before anything is loaded
        context, pooled = self._encode(prompt)
        return self.generate_image(
            np.repeat(context, batch_size, axis=0),
            negative_prompt,
            len(context) * batch_size,
            num_steps,
            unconditional_guidance_scale,
            diffusion_noise,
            seed,
            pooled_text=np.repeat(pooled, batch_size, axis=0),
            **options,
        )

    def quantize(
        self,
        mode: str = "int8",
        prompts: Sequence[str] = CALIBRATION,
        num_steps: int | None = None,
        *,
        decoder: bool = False,
    ) -> None:
        """Denoise in int8 from now on, on the OpenVINO backend: less time, nearly the same picture.

        The prompts are painted once in float32 to see how large the inputs of each layer become.
        That is kept on disk beside the compiled programs, so another process with the same weights,
        size and arguments does not paint them again.

        Args:
            mode: "int8".
            prompts: what to paint; each starts from the seed of its place in the list.
            num_steps: steps for each; default: the preset's.
            decoder: quantise the decoder as well.

        Raises:
            ValueError: ``mode`` is another one, there are no prompts, or the Keras backend is not
                OpenVINO. On the others Keras' ``diffusion_model.quantize("int8")`` quantises the
                Dense layers.
        """
        if mode != "int8":
            raise ValueError(f"`mode` must be 'int8'. Received: mode={mode!r}")
        if isinstance(prompts, str) or not prompts:
            raise ValueError(f"`prompts` must be a list of prompts. Received: prompts={prompts!r}")
        runtime.require_int8()
        seed = self.last_seed

        def paint() -> None:
            for i, prompt in enumerate(prompts):
                self.text_to_image(prompt, None, 1, num_steps, seed=i, verbose=False)

        c = self.checkpoint
        defaults = (c.prediction, c.guidance, c.steps, c.sampler, c.schedule_for(None), c.noise)
        size = (self.img_height, self.img_width)
        programs = [self._step, self._decode] if decoder else [self._step]
        runtime.quantize(programs, paint, repr((size, [*prompts], num_steps, defaults)))
        self.last_seed = seed

    def encode_text(self, prompt: str | Sequence[str]) -> np.ndarray:
        """What the denoiser attends to: float32 (P, 77, C), one row for each prompt.

        A prompt of more than 77 tokens warns and names what was cut.
        """
        return self._encode(prompt)[0]

    def pool_text(self, prompt: str | Sequence[str]) -> np.ndarray:
        """XL's pooled embedding of the prompt, float32 (P, C): ``pooled_text``."""
        return self._encode(prompt)[1]

    def generate_image(
        self,
        encoded_text: np.ndarray,
        negative_prompt: str | Sequence[str] | None = None,
        batch_size: int = 1,
        num_steps: int | None = None,
        unconditional_guidance_scale: float | None = None,
        diffusion_noise: np.ndarray | None = None,
        seed: int | None = None,
        *,
        pooled_text: np.ndarray | None = None,
        **options: Unpack[Options],
    ) -> np.ndarray:
        """Pictures of an encoded prompt, such as a mixture of two; see ``text_to_image``.

        Args:
            encoded_text: of ``encode_text``: (77, C) or (1, 77, C) for all pictures, or
                (batch_size, 77, C).
            pooled_text: XL only: of ``pool_text``.
        """
        check(batch_size, options)
        if self._sees_masks:
            raise ValueError(
                "`mask` must be given for a model made for inpainting: use `inpaint`. "
                "Received: mask=None"
            )
        plan = self._plan(num_steps, 1.0, options)
        noise = self._noise(batch_size, seed, diffusion_noise)
        denoise = self._denoiser(
            rows(encoded_text, 2, batch_size, "encoded_text"),
            None if pooled_text is None else rows(pooled_text, 1, batch_size, "pooled_text"),
            negative_prompt,
            unconditional_guidance_scale,
        )
        return self._paint(denoise(plan, noise(0) * plan.start_scale, noise, options))

    def image_to_image(
        self,
        prompt: str | Sequence[str],
        image: np.ndarray,
        strength: float = 0.8,
        negative_prompt: str | Sequence[str] | None = None,
        batch_size: int = 1,
        num_steps: int | None = None,
        unconditional_guidance_scale: float | None = None,
        seed: int | None = None,
        *,
        mask: np.ndarray | None = None,
        diffusion_noise: np.ndarray | None = None,
        **options: Unpack[Options],
    ) -> np.ndarray:
        """Pictures of a prompt that begin from a picture (SDEdit: Meng et al. 2021, 2108.01073).

        Args:
            image: (H, W, 3) for all pictures or (B, H, W, 3), 0..255, of the model's size.
            strength: 0 < strength <= 1, the part of the steps that are done: 1 for all of them.
            mask: (H, W) or (B, H, W) of 0..1, 1 where to paint anew; default: everywhere.

        The other arguments and the result are those of ``text_to_image``.
        """
        check(batch_size, options)
        if not 0 < strength <= 1:
            raise ValueError(f"`strength` must be in (0, 1]. Received: strength={strength}")
        B = len(listed(prompt)) * batch_size
        if mask is None and self._sees_masks:
            mask = np.ones((self.img_height, self.img_width))
        pictures = self._check(image, B, "image", 3)
        covered = None if mask is None else self._check(mask, B, "mask")
        plan = self._plan(num_steps, strength, options)
        noise = self._noise(B, seed, diffusion_noise)
        context, pooled = (np.repeat(x, batch_size, axis=0) for x in self._encode(prompt))
        denoise = self._denoiser(
            context,
            pooled,
            negative_prompt,
            unconditional_guidance_scale,
        )
        known = self._known(pictures, B)
        x = known + noise(0) * plan.sigma[0]
        if covered is None:
            return self._paint(denoise(plan, x, noise, options))
        inpainting = self._inpainting(covered, pictures, known)
        images = self._paint(denoise(plan, x, noise, options, inpainting))
        covered = covered[..., None]  # what it does not cover stays exactly as it was
        return np.round(covered * images + (1 - covered) * pictures).astype("uint8")

    def inpaint(
        self, prompt: str | Sequence[str], image: np.ndarray, mask: np.ndarray, **options: Any
    ) -> np.ndarray:
        """Paint the masked part of a picture anew: ``image_to_image`` at full strength with a mask.

        Outside the mask the result is the picture that was given. Networks trained for inpainting
        (9 input channels) see the mask; others are shown the known part at every step.
        """
        return self.image_to_image(
            prompt, image, options.pop("strength", 1.0), mask=mask, **options
        )


class StableDiffusionV2(StableDiffusion):
    """``StableDiffusion`` whose default is Stable Diffusion 2.1 at 512 pixels."""

    default_preset = "sd2.1-base"
