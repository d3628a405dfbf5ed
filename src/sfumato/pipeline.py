"""The stages through which a picture passes."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from keras import ops

from sfumato import programs
from sfumato.components import Components
from sfumato.diffusion.noise import latent_noise
from sfumato.diffusion.plan import Plan, make_plan
from sfumato.diffusion.schedules import training_sigmas
from sfumato.diffusion.shortcuts import evaluations
from sfumato.options import NotFiniteError, Options, Report, check_size, listed, rows

AHEAD = 2  # steps that may wait on the device; more would only delay progress and cancellation
TILED_ABOVE = 1536 * 1536  # pixels of a picture, beyond which the autoencoder works in tiles
TILE = 768  # pixels, a sixth of which overlap


class Pipeline(Components):
    """Text to picture in stages; ``StableDiffusion`` is its public face."""

    def _encode(self, prompt: str | Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Context (P, T, C) and pooled (P, C), prompt by prompt: one executable for any number."""
        encoded = []
        for text in listed(prompt):
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
        B, xl = len(context), self.checkpoint.family.size_embedding > 0
        if xl and pooled is None:
            raise ValueError(
                "`pooled_text` must be given for a model of the XL family. "
                "Received: pooled_text=None"
            )
        if scale > 1:
            blank = negative_prompt is None
            texts = listed("" if blank else negative_prompt, "negative_prompt")
            if B % len(texts):
                raise ValueError(
                    "`negative_prompt` must be one, or one for each prompt. "
                    f"Received: {len(texts)} for {B} pictures"
                )
            negatives = [np.repeat(x, B // len(texts), axis=0) for x in self._encode(texts)]
            if blank and self.checkpoint.zero_negative:
                negatives = [0 * x for x in negatives]
            context = np.concatenate([context, negatives[0]])
            if pooled is not None:
                pooled = np.concatenate([pooled, negatives[1]])
        size = (self.img_height, self.img_width)
        sizes = np.array([[*size, 0, 0, *size]] * len(context), "float32")
        conditioning = self._condition(context, *((pooled, sizes) if xl else (None, None)))
        return partial(self._denoise, conditioning, scale)

    def _plan(self, steps: int | None, strength: float, options: Options) -> Plan:
        steps = self.checkpoint.steps if steps is None else steps
        sigmas = training_sigmas(**self.checkpoint.noise)
        if not 1 <= steps <= len(sigmas):
            raise ValueError(
                f"`num_steps` must be from 1 to {len(sigmas)}. Received: num_steps={steps}"
            )
        sampler = options.get("sampler")
        schedule = options.get("schedule") or self.checkpoint.schedule_for(sampler)
        return make_plan(
            sigmas,
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
        if seed is None:  # of the draws behind a start noise that is given: the same ones
            seed = secrets.randbelow(2**32) if start is None else 0
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
        check_size(self.img_height, self.img_width, c.downsampling)
        h, w = self.img_height // c.downsampling, self.img_width // c.downsampling
        return h, w, c.latent_channels

    def _check(self, image: Any, B: int, name: str, *channels: int) -> np.ndarray:
        """An image (H, W, 3) or a mask (H, W), or B of them, as float32 (1 or B, ...)."""
        shape = (self.img_height, self.img_width, *channels)
        found = np.asarray(image, "float32")
        if found.shape not in (shape, (1, *shape), (B, *shape)):
            raise ValueError(
                f"`{name}` must have shape {shape}, or ({B}, ...) for {B} pictures. "
                f"Received: {name} of shape {found.shape}"
            )
        most = 255 if channels else 1
        if not 0 <= found.min() <= found.max() <= most:
            raise ValueError(
                f"`{name}` must have values from 0 to {most}. "
                f"Received: {name} with values from {found.min()} to {found.max()}"
            )
        return found.reshape(-1, *shape)

    def _inpainting(
        self, mask: np.ndarray, pictures: np.ndarray, known: np.ndarray
    ) -> programs.Inpainting:
        """The mask at the size of the latents: a latent is repainted if any of its pixels is.

        mask (1 or B, H, W), pictures (1 or B, H, W, 3), known (B, h, w, C).
        """
        B, h, w, _ = known.shape
        _, H, W = mask.shape
        small = mask.reshape(-1, h, H // h, w, W // w).max(axis=(2, 4))[..., None]
        small = np.broadcast_to(small, (B, h, w, 1))
        channels = None
        if self.checkpoint.sees_masks:
            hidden = np.where(mask[..., None] > 0.5, np.float32(127.5), pictures)
            channels = np.concatenate([small, self._known(hidden, B)], axis=-1)
        return programs.Inpainting(small, known, channels)

    def _known(self, pictures: np.ndarray, B: int) -> np.ndarray:
        """Latents (B, h, w, C) of pictures (1 or B, H, W, 3)."""
        latents = np.concatenate([self._to_latents(picture[None]) for picture in pictures])
        return np.repeat(latents, B // len(latents), axis=0)
