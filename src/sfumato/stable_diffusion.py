"""Stable Diffusion: from a prompt to a picture, with the interface of its predecessor in KerasCV."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, TypedDict, Unpack

import keras
import numpy as np
from keras import ops

from sfumato import checkpoints, programs, runtime
from sfumato.diffusion.noise import latent_noise
from sfumato.diffusion.plan import Plan, make_plan
from sfumato.diffusion.schedules import training_sigmas
from sfumato.networks.autoencoder import ImageDecoder, ImageEncoder
from sfumato.networks.text_encoder import TextEncoder
from sfumato.networks.unet import UNet
from sfumato.text.tokenizer import Tokenizer

AHEAD = 2  # steps that may wait on the device; more would only delay progress and cancellation
TILED_ABOVE = 1536 * 1536  # pixels of a picture, beyond which the autoencoder works in tiles
TILE = 768  # pixels, a sixth of which overlap


class NotFiniteError(ArithmeticError):
    """A number overflowed while denoising or decoding."""


@dataclass(frozen=True)
class StepEvent:
    """What ``on_step`` is told when a step has finished."""

    step: int
    """1 for the first."""
    steps: int
    denoised: Any
    """The picture as the network sees it now: latents (B, h, w, C), an array of the backend."""

    def latents(self) -> np.ndarray:
        """``denoised`` in NumPy, float32."""
        return ops.convert_to_numpy(self.denoised)


class Options(TypedDict, total=False):
    """What every method that makes pictures also takes."""

    sampler: str | None
    """Name in ``diffusion.samplers.SAMPLERS`` or an alias; default: the preset's."""
    schedule: str | None
    """Name in ``diffusion.schedules.SCHEDULES`` or an alias; default: the sampler's own."""
    guidance_rescale: float
    """0..1, against overexposure by strong guidance (Lin et al. 2023, arXiv 2305.08891); default 0."""
    on_step: Callable[[StepEvent], None] | None
    """Called after every step; raise in it to cancel."""
    verbose: bool
    """Show the Keras progress bar; default True."""


class StableDiffusion:
    """Text to pictures with Stable Diffusion 1.x, 2.x, XL or a model of the same make.

    The networks are loaded when they are first needed and are ordinary Keras models: ``tokenizer``,
    ``text_encoder``, ``diffusion_model``, ``decoder`` and ``image_encoder``, each of which may be
    replaced by assignment before the first picture.

    Args:
        img_height: height of the pictures in pixels, a multiple of 8.
        img_width: width of the pictures in pixels, a multiple of 8.
        jit_compile: compile each program whole (XLA; under torch, inductor).
        preset: name of a preset, a diffusers folder, a checkpoint file or a Hub repository.
        dtype: a dtype or Keras dtype policy such as "mixed_float16"; default: the global policy.

    Example:
        >>> model = StableDiffusion(64, 64, preset="mini")
        >>> model.text_to_image("a red apple", seed=1, verbose=False).shape
        (1, 64, 64, 3)
    """

    default_preset = "sd1.4"

    def __init__(
        self,
        img_height: int = 512,
        img_width: int = 512,
        jit_compile: bool = True,
        *,
        preset: str | None = None,
        dtype: Any = None,
    ) -> None:
        for name, size in (("img_height", img_height), ("img_width", img_width)):
            if not isinstance(size, int) or size < 8 or size % 8:
                raise ValueError(f"`{name}` must be a multiple of 8. Received: {name}={size}")
        self.img_height = img_height
        self.img_width = img_width
        self.jit_compile = jit_compile
        self.dtype_policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        self.checkpoint = checkpoints.open_model(preset or self.default_preset)
        self.last_seed: int | None = None

    @classmethod
    def from_preset(
        cls,
        preset: str,
        img_height: int | None = None,
        img_width: int | None = None,
        jit_compile: bool = True,
        dtype: Any = None,
    ) -> StableDiffusion:
        """A model by name, folder, file or Hub repository, by default at the size it was made for."""
        size = checkpoints.open_model(preset).default_size
        return cls(img_height or size, img_width or size, jit_compile, preset=preset, dtype=dtype)

    # The networks, loaded when first touched

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer(self.checkpoint.pad_tokens[0])

    @cached_property
    def tokenizer_2(self) -> Tokenizer:
        """XL's tokenizer for its second text encoder: the same words, another padding."""
        return Tokenizer(self.checkpoint.pad_tokens[-1])

    @cached_property
    def text_encoder(self) -> TextEncoder:
        return self.checkpoint.text_encoder(self.dtype_policy)

    @cached_property
    def text_encoder_2(self) -> TextEncoder | None:
        """XL's second text encoder."""
        return self.checkpoint.text_encoder_2(self.dtype_policy)

    @cached_property
    def diffusion_model(self) -> UNet:
        return self.checkpoint.unet(self.dtype_policy)

    @cached_property
    def decoder(self) -> ImageDecoder:
        return self.checkpoint.decoder(self._autoencoder_policy)

    @cached_property
    def image_encoder(self) -> ImageEncoder:
        return self.checkpoint.image_encoder(self._autoencoder_policy)

    @property
    def _autoencoder_policy(self) -> Any:
        """XL's autoencoder overflows in float16."""
        overflows = self.checkpoint.autoencoder_config.scaling_factor == 0.13025
        half = self.dtype_policy.compute_dtype == "float16"
        return "float32" if overflows and half else self.dtype_policy

    # The programs, compiled when first run

    @cached_property
    def _encode_text(self) -> runtime.Program:
        encoders = [e for e in (self.text_encoder, self.text_encoder_2) if e is not None]
        return self._compile(programs.encode_text, encoders, encoders)

    @cached_property
    def _condition(self) -> runtime.Program:
        return self._compile(programs.condition, self.diffusion_model, [self.diffusion_model])

    @cached_property
    def _step(self) -> runtime.Program:
        return self._compile(programs.step, self.diffusion_model, [self.diffusion_model])

    @cached_property
    def _decode(self) -> runtime.Program:
        return self._compile(programs.decode, self.decoder, [self.decoder])

    @cached_property
    def _encode_picture(self) -> runtime.Program:
        return self._compile(programs.encode, self.image_encoder, [self.image_encoder])

    def _compile(self, function: Any, network: Any, networks: list[Any]) -> runtime.Program:
        return runtime.compile(partial(function, network), networks, self.jit_compile)

    # Pictures

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
        context, pooled = self._encode(prompt)
        return self.generate_image(
            np.repeat(context, batch_size, axis=0),
            _repeat(negative_prompt, batch_size),
            len(context) * batch_size,
            num_steps,
            unconditional_guidance_scale,
            diffusion_noise,
            seed,
            pooled_text=np.repeat(pooled, batch_size, axis=0),
            **options,
        )

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
        denoise = self._denoiser(
            _rows(encoded_text, 2, batch_size, "encoded_text"),
            None if pooled_text is None else _rows(pooled_text, 1, batch_size, "pooled_text"),
            negative_prompt,
            unconditional_guidance_scale,
        )
        noise = self._noise(batch_size, seed, diffusion_noise)
        plan = self._plan(num_steps, 1.0, options)
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
        """Pictures of a prompt that begin from a picture (SDEdit, Meng et al. 2021, arXiv 2108.01073).

        Args:
            image: (H, W, 3) for all pictures or (B, H, W, 3), 0..255, of the model's size.
            strength: 0 < strength <= 1, the part of the steps that are done: 1 keeps nothing.
            mask: (H, W) or (B, H, W) of 0..1, 1 where to paint anew; default: everywhere.

        The other arguments and the result are those of ``text_to_image``.
        """
        if not 0 < strength <= 1:
            raise ValueError(f"`strength` must be in (0, 1]. Received: strength={strength}")
        context, pooled = self._encode(prompt)
        B = len(context) * batch_size
        denoise = self._denoiser(
            np.repeat(context, batch_size, axis=0),
            np.repeat(pooled, batch_size, axis=0),
            _repeat(negative_prompt, batch_size),
            unconditional_guidance_scale,
        )
        pictures = self._check_pictures(image, B)
        known = np.concatenate([self._to_latents(picture[None]) for picture in pictures])
        noise = self._noise(B, seed, diffusion_noise)
        plan = self._plan(num_steps, strength, options)
        x = known + noise(0) * plan.sigma[0]
        inpainting = None if mask is None else self._inpainting(mask, pictures, known)
        images = self._paint(denoise(plan, x, noise, options, inpainting))
        return images if mask is None else self._keep(images, pictures, mask)

    def inpaint(
        self, prompt: str | Sequence[str], image: np.ndarray, mask: np.ndarray, **options: Any
    ) -> np.ndarray:
        """Paint the masked part of a picture anew: ``image_to_image`` at full strength with a mask.

        Outside the mask the result is the picture that was given. Networks trained for inpainting
        (9 input channels) see the mask; others are shown the known part at every step.
        """
        return self.image_to_image(prompt, image, **{"strength": 1.0, **options}, mask=mask)

    # The stages

    def _encode(self, prompt: str | Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Context (P, T, C) and pooled (P, C), one prompt at a time: one executable for any number."""
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        if not prompts or not all(isinstance(p, str) for p in prompts):
            raise ValueError(f"`prompt` must be a string or strings. Received: prompt={prompt!r}")
        rows = []
        for text in prompts:
            length = self.text_encoder.config.length
            tokens = [self.tokenizer(text, length)]
            if self.text_encoder_2 is not None:
                tokens.append(self.tokenizer_2(text, length))
            rows.append([ops.convert_to_numpy(x) for x in self._encode_text(tokens)])
        contexts, pooled = zip(*rows, strict=True)
        return np.concatenate(contexts), np.concatenate(pooled)

    def _denoiser(
        self,
        context: np.ndarray,
        pooled: np.ndarray | None,
        negative_prompt: str | Sequence[str] | None,
        scale: float | None,
    ) -> Callable[..., np.ndarray]:
        """The denoising loop for these prompts."""
        scale = self.checkpoint.guidance if scale is None else scale
        B, xl = len(context), self.text_encoder_2 is not None
        if xl and pooled is None:
            raise ValueError("`pooled_text` must be given for a model of the XL family.")
        if scale > 1:
            blank = negative_prompt is None
            negative, negative_pooled = self._encode("" if blank else negative_prompt)
            if blank and self.checkpoint.zero_negative:
                negative, negative_pooled = 0 * negative, 0 * negative_pooled
            context = np.concatenate([context, _rows(negative, 2, B, "negative_prompt")])
            if xl:
                negative_pooled = _rows(negative_pooled, 1, B, "negative_prompt")
                pooled = np.concatenate([pooled, negative_pooled])
        size = (self.img_height, self.img_width)
        sizes = np.array([[*size, 0, 0, *size]] * len(context), "float32")
        conditioning = self._condition(context, *((pooled, sizes) if xl else (None, None)))
        return partial(self._denoise, conditioning, scale)

    def _plan(self, steps: int | None, strength: float, options: Options) -> Plan:
        steps = self.checkpoint.steps if steps is None else steps
        if steps < 1:
            raise ValueError(f"`num_steps` must be at least 1. Received: num_steps={steps}")
        sampler = options.get("sampler")
        # The preset's schedule belongs to the preset's sampler.
        schedule = options.get("schedule") or (None if sampler else self.checkpoint.schedule)
        return make_plan(
            training_sigmas(**self.checkpoint.noise),
            steps,
            sampler or self.checkpoint.sampler,
            schedule,
            strength=strength,
        )

    def _denoise(
        self,
        conditioning: programs.Conditioning,
        scale: float,
        plan: Plan,
        x: np.ndarray,
        noise: Callable[[int], np.ndarray],
        options: Options,
        inpainting: programs.Inpainting | None = None,
    ) -> np.ndarray:
        """x (B, h, w, C) at the first sigma -> latents; the device is never waited for but to report."""
        K = plan.matrix.shape[1]
        registers = np.concatenate([x[None], np.zeros((K - 1, *x.shape))]).astype("float32")
        state = programs.State(np.int32(0), registers)
        table = ops.convert_to_tensor(programs.tabulate(plan, self.checkpoint.prediction))
        guidance = np.array([scale, options.get("guidance_rescale", 0.0)], "float32")
        silence = ops.zeros(x.shape)
        report = _Report(plan, options)
        waiting = deque()
        for j, draw in enumerate(plan.draw.tolist()):
            fresh = noise(draw) if draw else silence
            state, denoised, finite = self._step(
                state, table, fresh, guidance, conditioning, inpainting
            )
            waiting.append((j, denoised, finite))
            if len(waiting) > AHEAD:
                report(*waiting.popleft())
        for sent in waiting:
            report(*sent)
        return ops.convert_to_numpy(state.registers)[0]

    def _paint(self, latents: np.ndarray) -> np.ndarray:
        """latents (B, h, w, C) -> uint8 (B, H, W, 3), one at a time: memory for one, one executable."""
        tile = TILE // self.checkpoint.autoencoder_config.downsampling
        pictures = []
        for x in latents[:, None].astype("float32"):
            if self.img_height * self.img_width > TILED_ABOVE:
                picture = programs.tiled(self._decode_tile, x, tile, tile // 6, TILE / tile)
            else:
                picture = self._decode_tile(x)
            pictures.append(np.round(picture).astype("uint8"))
        return np.concatenate(pictures)

    def _decode_tile(self, x: np.ndarray) -> np.ndarray:
        picture, finite = self._decode(x)
        if not ops.convert_to_numpy(finite):
            raise NotFiniteError(
                "The decoder's picture is not finite. "
                "Use dtype='mixed_bfloat16' or dtype='float32' instead of float16."
            )
        return ops.convert_to_numpy(picture)

    def _to_latents(self, picture: np.ndarray) -> np.ndarray:
        """(1, H, W, 3) of 0..255 -> (1, h, w, C)."""

        def encode(x: np.ndarray) -> np.ndarray:
            return ops.convert_to_numpy(self._encode_picture(x))

        if self.img_height * self.img_width > TILED_ABOVE:
            scale = 1 / self.checkpoint.autoencoder_config.downsampling
            return programs.tiled(encode, picture, TILE, TILE // 6, scale)
        return encode(picture)

    def _noise(
        self, batch_size: int, seed: int | None, start: np.ndarray | None
    ) -> Callable[[int], np.ndarray]:
        """Draw k of every picture's own noise, float32 (B, h, w, C); 0 is the start noise."""
        if seed is not None and start is not None:
            raise ValueError(
                "`diffusion_noise` and `seed` must not both be given. "
                f"Received: seed={seed}, diffusion_noise of shape {np.shape(start)}"
            )
        seed = secrets.randbelow(2**32) if seed is None else seed
        self.last_seed = seed
        shape = self._latent_shape
        if start is not None:
            start = _rows(start, 3, batch_size, "diffusion_noise")
            if start.shape[1:] != shape:
                raise ValueError(
                    f"`diffusion_noise` must have shape {shape} or (B, ...). "
                    f"Received: diffusion_noise of shape {start.shape}"
                )

        def draw(k: int) -> np.ndarray:
            if k == 0 and start is not None:
                return start.astype("float32")
            return np.stack([latent_noise(seed + i, *shape, offset=k) for i in range(batch_size)])

        return draw

    @property
    def _latent_shape(self) -> tuple[int, int, int]:
        c = self.checkpoint.autoencoder_config
        h, w = self.img_height // c.downsampling, self.img_width // c.downsampling
        return h, w, c.latent_channels

    def _check_pictures(self, image: np.ndarray, batch_size: int) -> np.ndarray:
        pictures = _rows(image, 3, batch_size, "image")
        shape = (self.img_height, self.img_width, 3)
        if pictures.shape[1:] != shape:
            raise ValueError(
                f"`image` must have shape {shape} or (B, ...). "
                f"Received: image of shape {pictures.shape}"
            )
        return pictures.astype("float32")

    def _inpainting(
        self, mask: np.ndarray, pictures: np.ndarray, known: np.ndarray
    ) -> programs.Inpainting:
        """The mask at the size of the latents: a latent is repainted if any of its pixels is."""
        B, H, W, _ = pictures.shape
        h, w, _ = self._latent_shape
        full = _rows(mask, 2, B, "mask").reshape(B, H, W, 1).astype("float32")
        small = full.reshape(B, h, H // h, w, W // w).max(axis=(2, 4))[..., None]
        channels = None
        if self.diffusion_model.config.in_channels > known.shape[-1]:
            hidden = np.where(full > 0.5, 127.5, pictures)
            seen = np.concatenate([self._to_latents(picture[None]) for picture in hidden])
            channels = np.concatenate([small, seen], axis=-1)
        return programs.Inpainting(small, known, channels)

    @staticmethod
    def _keep(images: np.ndarray, pictures: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """What the mask does not cover, exactly as it was."""
        mask = _rows(mask, 2, len(images), "mask")[..., None]
        return np.round(mask * images + (1 - mask) * pictures).astype("uint8")


class StableDiffusionV2(StableDiffusion):
    """``StableDiffusion`` whose default is Stable Diffusion 2.1 at 512 pixels."""

    default_preset = "sd2.1-base"


class _Report:
    """Waits for a step that was sent, checks it, shows it, tells it."""

    def __init__(self, plan: Plan, options: Options) -> None:
        self.step = plan.step + 1
        self.ends_step = plan.ends_step
        self.steps = plan.steps
        self.on_step = options.get("on_step")
        self.bar = keras.utils.Progbar(self.steps) if options.get("verbose", True) else None

    def __call__(self, evaluation: int, denoised: Any, finite: Any) -> None:
        step = int(self.step[evaluation])
        if not ops.convert_to_numpy(finite):
            raise NotFiniteError(
                f"The latents of step {step} of {self.steps} are not finite. "
                "Use dtype='mixed_bfloat16' or dtype='float32' instead of float16."
            )
        if not self.ends_step[evaluation]:
            return
        if self.bar:
            self.bar.update(step)
        if self.on_step:
            self.on_step(StepEvent(step, self.steps, denoised))


def _repeat(prompt: str | Sequence[str] | None, times: int) -> str | list[str] | None:
    """Every prompt of a list ``times`` over."""
    if prompt is None or isinstance(prompt, str):
        return prompt
    return [text for text in prompt for _ in range(times)]


def _rows(array: Any, rank: int, batch_size: int, name: str) -> np.ndarray:
    """``array`` of one picture (``rank`` axes) or of each, as (batch_size, ...)."""
    array = np.asarray(array)
    if array.ndim == rank:
        array = array[None]
    if array.ndim != rank + 1 or len(array) not in (1, batch_size):
        raise ValueError(
            f"`{name}` must have {rank} axes, or {rank + 1} of which the first is 1 or the number "
            f"of pictures, {batch_size}. Received: {name} of shape {array.shape}"
        )
    return np.repeat(array, batch_size, axis=0) if len(array) < batch_size else array
