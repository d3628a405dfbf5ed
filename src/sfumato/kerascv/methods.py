"""The methods of KerasCV's `StableDiffusion`: each builds requests and collects the stream."""

from __future__ import annotations

import secrets
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from sfumato import generation
from sfumato.checkpoints import Model
from sfumato.encoding import Encode, Encoded, Encoder
from sfumato.generation import Step
from sfumato.kerascv import arguments
from sfumato.parts import Parts
from sfumato.picture import Picture
from sfumato.request import Request

OnStep = Callable[[Step], None]


class KerasCVMethods:
    """KerasCV's names, arguments and results, for a class that has these attributes."""

    model: Model
    parts: Parts
    img_height: int
    img_width: int
    _last_seed: int | None = None

    def completed(self, request: str | Request, **fields: Any) -> Request:
        """The request with nothing left open."""
        raise NotImplementedError

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
        on_step: OnStep | None = None,
        verbose: bool = True,
        **fields: Any,
    ) -> np.ndarray:
        """Make the pictures of a prompt.

        Args:
            prompt: what to show; a list gives ``batch_size`` pictures of each, in order.
            negative_prompt: what to lead away from; a list has one for each prompt.
            batch_size: pictures per prompt.
            num_steps: steps of the sampler; default: the preset's, 25 for most.
            unconditional_guidance_scale: how strongly to follow the prompt; default: the preset's,
                7.5 for most. Up to 1 there is no guidance, and a step takes half the time.
            seed: picture i starts from the noise of ``seed + i``, 0 <= seed < 2**64; default: a new
                one.
            diffusion_noise: start noise of unit variance, (h, w, C) for all pictures or
                (B, h, w, C), instead of a seed; h and w are an eighth of the picture's.
            on_step: called with each ``Step``; raise in it to cancel.
            verbose: show the Keras progress bar.
            fields: the other fields of ``Request``, such as ``sampler`` and ``schedule``.

        Returns:
            uint8 (B, img_height, img_width, 3).

        Raises:
            ValueError: an argument is out of its range.
            NotFiniteError: a number overflowed, as it may in float16.
        """
        with arguments.kerascv_names():
            settings = arguments.settings(num_steps, unconditional_guidance_scale, fields)
            count = arguments.field("count", batch_size)
            prompts = arguments.prompts(prompt)
            noise = arguments.start_noise(diffusion_noise, seed, len(prompts) * count)
            seed = self._drawn(seed, noise)
            requests = arguments.requests(prompts, negative_prompt, count, seed, settings)
            return self._collect(requests, None, noise, on_step, verbose)

    def encode_text(self, prompt: str | Sequence[str]) -> np.ndarray:
        """Encode prompts for the denoiser: float32 (P, 77, C).

        A prompt of more than 77 tokens warns and names what was cut.
        """
        return Encoder(self.parts)(arguments.prompts(prompt)).context

    def pool_text(self, prompt: str | Sequence[str]) -> Any:
        """Pool prompts as XL reads them, float32 (P, C): ``pooled_text``."""
        return Encoder(self.parts)(arguments.prompts(prompt)).pooled

    def _own_encoder(self) -> Encode | None:
        """``encode_text`` and ``pool_text`` where a subclass has its own; else None."""
        own = (KerasCVMethods.encode_text, KerasCVMethods.pool_text)
        methods = (self.encode_text, self.pool_text)
        if tuple(getattr(method, "__func__", None) for method in methods) == own:
            return None

        def each(texts: Sequence[str], method: Callable[[str], Any], rank: int, name: str) -> Any:
            found = {
                text: keras.ops.convert_to_numpy(method(text)) for text in dict.fromkeys(texts)
            }
            rows = [arguments.rows(found[text], rank, 1, name) for text in texts]
            return np.concatenate(rows).astype("float32")

        def encode(texts: Sequence[str]) -> Encoded:
            context = each(texts, self.encode_text, 2, "encoded_text")
            if not self.parts.diffusion_model.takes_sizes:
                return Encoded(context, None)
            return Encoded(context, each(texts, self.pool_text, 1, "pooled_text"))

        return encode

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
        on_step: OnStep | None = None,
        verbose: bool = True,
        **fields: Any,
    ) -> np.ndarray:
        """Make pictures of an encoded prompt, such as a mixture of two; see ``text_to_image``.

        Args:
            encoded_text: of ``encode_text``: (77, C) or (1, 77, C) for all pictures, or
                (batch_size, 77, C).
            pooled_text: XL only: of ``pool_text``.
        """
        with arguments.kerascv_names():
            settings = arguments.settings(num_steps, unconditional_guidance_scale, fields)
            count = arguments.field("count", batch_size)
            noise = arguments.start_noise(diffusion_noise, seed, count)
            seed = self._drawn(seed, noise)
            requests = arguments.requests([""] * count, negative_prompt, 1, seed, settings)
            context = arguments.rows(encoded_text, 2, count, "encoded_text")
            pooled = pooled_text
            if pooled is not None:
                pooled = arguments.rows(pooled, 1, count, "pooled_text")
            return self._collect(requests, Encoded(context, pooled), noise, on_step, verbose)

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
        on_step: OnStep | None = None,
        verbose: bool = True,
        **fields: Any,
    ) -> np.ndarray:
        """Make pictures that begin from a picture (SDEdit: Meng et al. 2021, arXiv 2108.01073).

        Args:
            image: (H, W, 3) for all pictures or (B, H, W, 3), of the size asked for and of 0..255
                whatever the type: floats that all lie in 0..1 are refused.
            strength: 0 < strength <= 1, the part of the steps that are done: 1 for all of them.
            mask: (H, W) or (B, H, W) of 0..1, 1 where to paint; default: everywhere.

        The other arguments and the result are those of ``text_to_image``.
        """
        with arguments.kerascv_names():
            settings = arguments.settings(num_steps, unconditional_guidance_scale, fields)
            settings["strength"] = strength
            prompts = arguments.prompts(prompt)
            count = arguments.field("count", batch_size)
            B = len(prompts) * count
            size = (settings.get("height", self.img_height), settings.get("width", self.img_width))
            if mask is None and self.model.sees_masks:
                mask = np.ones(size)
            pictures = arguments.pictures(image, mask, size, B)
            noise = arguments.start_noise(diffusion_noise, seed, B)
            seed = self._drawn(seed, noise)
            requests = arguments.requests(prompts, negative_prompt, count, seed, settings, pictures)
            return self._collect(requests, None, noise, on_step, verbose)

    def inpaint(
        self, prompt: str | Sequence[str], image: np.ndarray, mask: np.ndarray, **options: Any
    ) -> np.ndarray:
        """Paint the masked part of a picture: ``image_to_image`` at full strength with a mask.

        Outside the mask the result is the picture that was given. Networks trained for inpainting
        (9 input channels) see the mask; others are shown the known part at every step.
        """
        strength = options.pop("strength", 1.0)
        return self.image_to_image(prompt, image, strength, mask=mask, **options)

    @property
    def last_seed(self) -> int | None:
        """The seed of the last call of one of these methods. Deprecated."""
        warnings.warn(
            "`last_seed` will go: `generate(...)[0].request.seed` says it of each picture.",
            DeprecationWarning,
            stacklevel=2,
        )
        return self._last_seed

    def _drawn(self, seed: int | None, noise: np.ndarray | None) -> int:
        """The seed, or a new one; the draws that follow a given start noise are always the same."""
        chosen: int | None = None if seed is None else arguments.field("seed", seed)
        if chosen is None:
            chosen = secrets.randbelow(2**32) if noise is None else 0
        self._last_seed = chosen
        return chosen

    def _collect(
        self,
        requests: list[Request],
        encoded: Encoded | None,
        noise: np.ndarray | None,
        on_step: OnStep | None,
        verbose: bool,
    ) -> np.ndarray:
        """The pixels of all pictures, uint8 (B, H, W, 3), with progress on the way."""
        completed = [self.completed(request) for request in requests]
        shows = verbose and sys.stdout is not None  # a program without a console has none
        bar = keras.utils.Progbar(completed[0].plan(self.model).steps) if shows else None
        pixels: list[np.ndarray] = []
        for made in generation.stream(self.parts, completed, encoded, noise, self._own_encoder()):
            if isinstance(made, Picture):
                pixels.append(made.pixels)
                continue
            if bar:
                bar.update(made.step)
            if on_step:
                on_step(made)
        return np.stack(pixels)
