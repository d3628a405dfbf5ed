"""Stable Diffusion, from a prompt to a picture, also with the interface of KerasCV's."""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from sfumato import arguments, checkpoints, generation, presets, runtime
from sfumato.generation import Encoded, NotFiniteError, Step
from sfumato.parts import Parts
from sfumato.pictures.picture import Picture
from sfumato.request import Request, RequestError

__all__ = [
    "NotFiniteError",
    "Picture",
    "Request",
    "RequestError",
    "StableDiffusion",
    "StableDiffusionV2",
    "Step",
    "load",
]

CALIBRATION = (
    "a red apple",
    "a photo of an astronaut riding a horse on the moon",
    "a landscape with mountains and a lake at sunset, oil painting",
    "a cartoon of a yellow cat on a blue background",
)
"""The prompts that ``quantize`` paints by default."""


def _part(name: str, text: str) -> Any:
    """An attribute of ``parts``, which may be replaced by assignment."""

    def get(self: StableDiffusion) -> Any:
        return getattr(self.parts, name)

    def put(self: StableDiffusion, value: Any) -> None:
        setattr(self.parts, name, value)

    return property(get, put, doc=text)


class StableDiffusion:
    """Text to pictures with Stable Diffusion 1.x, 2.x, XL or a model of the same make.

    The networks are loaded when they are first needed and are ordinary Keras models. Each may be
    replaced by assignment before the first picture. One thread at a time may use a model.

    Args:
        img_height: height of pictures in pixels where none is asked for, a multiple of 8.
        img_width: width of pictures in pixels where none is asked for, a multiple of 8.
        jit_compile: compile each program whole (XLA; under torch, inductor).
        preset: name of a preset, a diffusers folder, a checkpoint file or a Hub repository.
        dtype: a dtype or Keras dtype policy such as "mixed_float16"; default: the global policy.
        prediction: "epsilon", "v_prediction" or "sample", where the files do not tell: 2.x for 768
            pixels in a single file is "v_prediction".

    Example:
        >>> model = StableDiffusion(64, 64, preset="mini")
        >>> model.generate("a red apple", seed=1)[0].pixels.shape
        (64, 64, 3)
    """

    default_preset = "sd1.4"

    tokenizer = _part("tokenizer", "From text to the tokens of ``text_encoder``.")
    tokenizer_2 = _part("tokenizer_2", "From text to the tokens of ``text_encoder_2``.")
    text_encoder = _part("text_encoder", "The CLIP text encoder.")
    text_encoder_2 = _part("text_encoder_2", "XL's second text encoder; None for other models.")
    diffusion_model = _part("diffusion_model", "The U-Net.")
    decoder = _part("decoder", "From latents to pictures.")
    image_encoder = _part("image_encoder", "From pictures to latents.")

    def __init__(
        self,
        img_height: int = 512,
        img_width: int = 512,
        jit_compile: bool = True,
        *,
        preset: str | checkpoints.Model | None = None,
        dtype: Any = None,
        prediction: checkpoints.Prediction | None = None,
    ) -> None:
        for name, size in (("img_height", img_height), ("img_width", img_width)):
            arguments.check_size(name, size)
        if not isinstance(preset, checkpoints.Model):
            preset = checkpoints.open_model(preset or self.default_preset, prediction=prediction)
        self.model = preset
        self.img_height = img_height
        self.img_width = img_width
        self.parts = Parts(preset, jit_compile, dtype)
        self.quantized: str | None = None
        self._dtype = None if dtype is None else self.parts.dtype_policy.name
        self._last_seed: int | None = None

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
        """Open a model by name, folder, file or Hub repository, at the size it was made for."""
        model = checkpoints.open_model(preset, prediction=prediction)
        size = model.default_size
        return cls(img_height or size, img_width or size, jit_compile, preset=model, dtype=dtype)

    # Pictures

    def generate(self, request: str | Request, **fields: Any) -> list[Picture]:
        """Make the pictures of a prompt or of a request, in one batch.

        Args:
            request: the words, or a whole request.
            fields: of ``Request``, such as ``steps=20, count=4, seed=1``; they come before the
                request's own.

        Returns:
            ``count`` pictures. Picture i starts from the noise of ``seed + i``.

        Raises:
            RequestError: a ValueError: a field is out of its range.
            NotFiniteError: a number overflowed, as it may in float16.
        """
        return [made for made in self.stream(request, **fields) if isinstance(made, Picture)]

    def stream(self, request: str | Request, **fields: Any) -> Iterator[Step | Picture]:
        """Make pictures as ``generate`` does; yield each step, then each picture.

        A loop that ends early cancels the rest.
        """
        return generation.stream(self.parts, [self.completed(request, **fields)])

    def completed(self, request: str | Request, **fields: Any) -> Request:
        """The request that ``generate`` works on, with nothing left open."""
        if isinstance(request, Request):
            request = Request(**vars(request) | fields)
        else:
            request = Request(prompt=request, **fields)
        own = {"model": self.model.name, "dtype": self._dtype, "quantize": self.quantized}
        self._check_own(request, own)
        defaults = dict(own)
        if request.image is None:
            defaults |= {"height": self.img_height, "width": self.img_width}
        return request.with_defaults(**defaults).completed(self.model)

    def _check_own(self, request: Request, own: dict[str, str | None]) -> None:
        """A request that names another model, or another precision, is not for this one."""
        policy = self.parts.dtype_policy.name
        for name, mine in own.items():
            asked = getattr(request, name)
            is_mine = asked in (None, mine) or (name == "dtype" and asked == policy)
            if name == "model" and asked and presets.find(asked):
                is_mine = is_mine or presets.find(asked) is self.model.preset
            if not is_mine:
                raise RequestError.of(name, f"be that of the loaded model, {mine!r}", asked)

    def quantize(
        self,
        mode: str = "int8",
        prompts: Sequence[str] = CALIBRATION,
        num_steps: int | None = None,
        *,
        decoder: bool = False,
    ) -> None:
        """Denoise in int8 from now on, on the OpenVINO backend: less time, nearly the same picture.

        The prompts are painted once in float32, at the default size, to see how large the inputs of
        each layer become. That is kept on disk with the compiled programs, so another process with
        the same weights, size and arguments does not paint them again.

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

        def paint() -> None:
            for i, prompt in enumerate(prompts):
                self.generate(prompt, steps=num_steps, seed=i)

        m = self.model
        defaults = (m.prediction, m.guidance, m.steps, m.sampler, m.schedule_for(None), m.noise)
        size = (self.img_height, self.img_width)
        programs = [self.parts.evaluate, *([self.parts.decode] if decoder else [])]
        runtime.quantize(programs, paint, repr((size, [*prompts], num_steps, defaults)))
        self.quantized = mode

    # The interface of KerasCV's

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
        on_step: Callable[[Step], None] | None = None,
        verbose: bool = True,
        **fields: Any,
    ) -> np.ndarray:
        """Make the pictures of a prompt, as KerasCV's method does.

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
            prompts = arguments.prompts(prompt)
            B = len(prompts) * arguments.check_count(batch_size)
            noise = arguments.start_noise(diffusion_noise, seed, B)
            requests = arguments.requests(
                prompts, negative_prompt, batch_size, self._seed(seed, noise), settings
            )
            return self._collect(requests, None, noise, on_step, verbose)

    def encode_text(self, prompt: str | Sequence[str]) -> np.ndarray:
        """Encode prompts for the denoiser: float32 (P, 77, C).

        A prompt of more than 77 tokens warns and names what was cut.
        """
        return generation.encode(self.parts, arguments.prompts(prompt)).context

    def pool_text(self, prompt: str | Sequence[str]) -> np.ndarray:
        """Pool prompts as XL reads them, float32 (P, C): ``pooled_text``."""
        pooled = generation.encode(self.parts, arguments.prompts(prompt)).pooled
        assert pooled is not None
        return pooled

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
        on_step: Callable[[Step], None] | None = None,
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
            B = arguments.check_count(batch_size)
            encoded = Encoded(
                arguments.rows(encoded_text, 2, B, "encoded_text"),
                None if pooled_text is None else arguments.rows(pooled_text, 1, B, "pooled_text"),
            )
            noise = arguments.start_noise(diffusion_noise, seed, B)
            seed = self._seed(seed, noise)
            requests = arguments.requests([""] * B, negative_prompt, 1, seed, settings)
            return self._collect(requests, encoded, noise, on_step, verbose)

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
        on_step: Callable[[Step], None] | None = None,
        verbose: bool = True,
        **fields: Any,
    ) -> np.ndarray:
        """Make pictures that begin from a picture (SDEdit: Meng et al. 2021, arXiv 2108.01073).

        Args:
            image: (H, W, 3) for all pictures or (B, H, W, 3), 0..255, of the size asked for.
            strength: 0 < strength <= 1, the part of the steps that are done: 1 for all of them.
            mask: (H, W) or (B, H, W) of 0..1, 1 where to paint; default: everywhere.

        The other arguments and the result are those of ``text_to_image``.
        """
        with arguments.kerascv_names():
            settings = arguments.settings(num_steps, unconditional_guidance_scale, fields)
            settings["strength"] = strength
            prompts = arguments.prompts(prompt)
            B = len(prompts) * arguments.check_count(batch_size)
            size = (settings.get("height", self.img_height), settings.get("width", self.img_width))
            if mask is None and self.model.sees_masks:
                mask = np.ones(size)
            given = arguments.pictures(image, mask, size, B)
            noise = arguments.start_noise(diffusion_noise, seed, B)
            requests = arguments.requests(
                prompts, negative_prompt, batch_size, self._seed(seed, noise), settings, given
            )
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
        """The seed of the last call of a method of KerasCV's. Deprecated."""
        warnings.warn(
            "`last_seed` will go: `generate(...)[0].request.seed` says it of each picture.",
            DeprecationWarning,
            stacklevel=2,
        )
        return self._last_seed

    def _seed(self, seed: int | None, noise: np.ndarray | None) -> int:
        """The seed, or a new one; the draws that follow a given start noise are always the same."""
        if seed is None:
            seed = secrets.randbelow(2**32) if noise is None else 0
        self._last_seed = seed
        return seed

    def _collect(
        self,
        requests: list[Request],
        encoded: Encoded | None,
        noise: np.ndarray | None,
        on_step: Callable[[Step], None] | None,
        verbose: bool,
    ) -> np.ndarray:
        """The pixels of all pictures, (B, H, W, 3), with the progress on the way."""
        completed = [self.completed(request) for request in requests]
        pixels: list[np.ndarray] = []
        bar = keras.utils.Progbar(completed[0].plan(self.model).steps) if verbose else None
        for made in generation.stream(self.parts, completed, encoded, noise):
            if isinstance(made, Picture):
                pixels.append(made.pixels)
                continue
            if bar:
                bar.update(made.step)
            if on_step:
                on_step(made)
        return np.stack(pixels)


class StableDiffusionV2(StableDiffusion):
    """``StableDiffusion`` whose default is Stable Diffusion 2.1 at 512 pixels."""

    default_preset = "sd2.1-base"


def load(
    name: str,
    *,
    dtype: Any = None,
    jit_compile: bool = True,
    prediction: checkpoints.Prediction | None = None,
) -> StableDiffusion:
    """Open a model by preset, folder, file or Hub repository.

    Args:
        name: such as "mini", "sd1.5", "./model.safetensors" or "user/repository".
        dtype, jit_compile, prediction: see ``StableDiffusion``.

    Example:
        >>> load("mini").generate("a red apple", seed=7)[0].request.seed
        7
    """
    return StableDiffusion.from_preset(
        name, jit_compile=jit_compile, dtype=dtype, prediction=prediction
    )
