"""A model's networks and programs, and the stages through which a picture passes."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache, partial
from typing import Any

import keras
import numpy as np
from keras import ops

from sfumato import checkpoints, programs, runtime
from sfumato.diffusion.noise import latent_noise
from sfumato.diffusion.plan import Plan, make_plan
from sfumato.diffusion.schedules import training_sigmas
from sfumato.diffusion.shortcuts import evaluations
from sfumato.networks.autoencoder import ImageDecoder, ImageEncoder
from sfumato.networks.text_encoder import TextEncoder
from sfumato.networks.unet import UNet
from sfumato.options import NotFiniteError, Options, Report, rows
from sfumato.text.tokenizer import Tokenizer

AHEAD = 2  # steps that may wait on the device; more would only delay progress and cancellation
TILED_ABOVE = 1536 * 1536  # pixels of a picture, beyond which the autoencoder works in tiles
TILE = 768  # pixels, a sixth of which overlap


class Pipeline:
    """Text to picture in stages; ``StableDiffusion`` is its public face.

    The networks are loaded and the programs compiled when they are first needed.
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
        prediction: checkpoints.Prediction | None = None,
    ) -> None:
        for name, size in (("img_height", img_height), ("img_width", img_width)):
            if not isinstance(size, int) or size < 8 or size % 8:
                raise ValueError(f"`{name}` must be a multiple of 8. Received: {name}={size}")
        self.img_height = img_height
        self.img_width = img_width
        self.jit_compile = jit_compile
        self.dtype_policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        self.checkpoint = checkpoints.open_model(
            preset or self.default_preset, prediction=prediction
        )
        self.last_seed: int | None = None
        self._int8_ranges: np.ndarray | None = None  # of ``_step`` and its variants; see quantize

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

    def _step_for(self, keep: bool, token_merging: float) -> runtime.Program:
        return self._step_variant(keep, token_merging) if keep or token_merging else self._step

    @cached_property
    def _step_variant(self) -> Callable[[bool, float], runtime.Program]:
        """``_step`` that keeps features or merges tokens; of those used, the last two."""

        def variant(keep: bool, token_merging: float) -> runtime.Program:
            step = partial(programs.step, keep=keep, token_merging=token_merging)
            made: Any = self._compile(step, self.diffusion_model, [self.diffusion_model])
            if self._int8_ranges is not None:
                made.ranges = self._int8_ranges
            return made

        return lru_cache(2)(variant)

    @cached_property
    def _decode(self) -> runtime.Program:
        return self._compile(programs.decode, self.decoder, [self.decoder])

    @cached_property
    def _encode_picture(self) -> runtime.Program:
        return self._compile(programs.encode, self.image_encoder, [self.image_encoder])

    def _compile(self, function: Any, network: Any, networks: list[Any]) -> runtime.Program:
        return runtime.compile(partial(function, network), networks, self.jit_compile)

    # The stages

    def _encode(self, prompt: str | Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Context (P, T, C) and pooled (P, C), prompt by prompt: one executable for any number."""
        prompts = prompt if isinstance(prompt, (list, tuple)) else [prompt]
        if not prompts or not all(isinstance(p, str) for p in prompts):
            raise ValueError(f"`prompt` must be a string or strings. Received: prompt={prompt!r}")
        encoded = []
        for text in prompts:
            length = self.text_encoder.config.length
            tokens = [self.tokenizer(text, length)]
            if self.text_encoder_2 is not None:
                tokens.append(self.tokenizer_2(text, length))
            encoded.append([ops.convert_to_numpy(x) for x in self._encode_text(tokens)])
        contexts, pooled = zip(*encoded, strict=True)
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
            context = np.concatenate([context, rows(negative, 2, B, "negative_prompt")])
            if pooled is not None:
                negative_pooled = rows(negative_pooled, 1, B, "negative_prompt")
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
        schedule = options.get("schedule") or self.checkpoint.schedule_for(sampler)
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
        """x (B, h, w, C) at the first sigma -> latents; waits for the device only to report."""
        K = plan.matrix.shape[1]
        registers = np.concatenate([x[None], np.zeros((K - 1, *x.shape))]).astype("float32")
        state = programs.State(np.int32(0), registers)
        table = ops.convert_to_tensor(programs.tabulate(plan, self.checkpoint.prediction))
        guidance = np.array([scale, options.get("guidance_rescale", 0.0)], "float32")
        silence = ops.convert_to_tensor(np.zeros(x.shape, "float32"))
        reuse, merging = options.get("feature_reuse", 1), options.get("token_merging", 0.0)
        ways = evaluations(plan, scale > 1, options.get("guidance_interval", (0, 1)), reuse)
        told = {
            guided: conditioning if guided == (scale > 1) else conditioning.of_prompts(len(x))
            for guided in {way.guided for way in ways}
        }
        deep = None
        report = Report(plan, options)
        waiting = deque()
        for j, (draw, way) in enumerate(zip(plan.draw.tolist(), ways, strict=True)):
            fresh = noise(draw) if draw else silence
            step = self._step_for(reuse > 1 and not way.shallow, merging)
            given = deep if way.shallow else None
            state, denoised, finite, kept = step(
                state, table, fresh, guidance, told[way.guided], inpainting, given
            )
            deep = given if way.shallow else kept
            waiting.append((j, denoised, finite))
            if len(waiting) > AHEAD:
                report(*waiting.popleft())
        for sent in waiting:
            report(*sent)
        return ops.convert_to_numpy(state.registers)[0]

    def _paint(self, latents: np.ndarray) -> np.ndarray:
        """latents (B, h, w, C) -> uint8 (B, H, W, 3), one at a time: the memory of one picture."""
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
            start = rows(start, 3, batch_size, "diffusion_noise")
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
        pictures = rows(image, 3, batch_size, "image")
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
        full = rows(mask, 2, B, "mask").reshape(B, H, W, 1).astype("float32")
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
        mask = rows(mask, 2, len(images), "mask")[..., None]
        return np.round(mask * images + (1 - mask) * pictures).astype("uint8")
