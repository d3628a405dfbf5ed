"""Stable Diffusion, from a prompt to a picture, also with the interface of KerasCV's."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sfumato import checkpoints, generation, runtime
from sfumato.explanation import Explanation, explain
from sfumato.finite import NotFiniteError
from sfumato.generation import Step
from sfumato.kerascv import KerasCVMethods, arguments
from sfumato.parts import Parts
from sfumato.picture import Picture
from sfumato.request import Request, RequestError
from sfumato.request.checks import check_own

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
    """An attribute of ``parts``, without LoRAs, which may be replaced by assignment."""

    def get(self: StableDiffusion) -> Any:
        self.parts.loras.use(())
        return getattr(self.parts, name)

    def put(self: StableDiffusion, value: Any) -> None:
        setattr(self.parts, name, value)

    return property(get, put, doc=text)


class StableDiffusion(KerasCVMethods):
    """Text to pictures with Stable Diffusion 1.x, 2.x, XL or a model of the same make.

    The networks are loaded when they are first needed and are ordinary Keras models. Each may be
    replaced by assignment, and its layers may be changed: the next picture is made with what is
    there then. Several threads may use a model; one waits for the other.

    Args:
        img_height: height of pictures in pixels where none is asked for, a multiple of 8.
        img_width: width of pictures in pixels where none is asked for, a multiple of 8.
        jit_compile: compile each program whole (XLA; under torch, inductor).
        preset: name of a preset, a diffusers folder, a checkpoint file or a Hub repository.
        dtype: a dtype or Keras dtype policy such as "mixed_float16"; default: the global policy.
        prediction: "epsilon", "v_prediction" or "sample", where the files do not tell: 2.x for 768
            pixels in a single file is "v_prediction".
        decoder: another autoencoder: "tiny", a file, a folder or a Hub repository.
        devices: "all" shares each batch among the devices of this machine, under JAX; the pictures
            are those of one device. Default: one paints.

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
    jit_compile = _part("jit_compile", "Whether each program is compiled whole.")

    def __init__(
        self,
        img_height: int = 512,
        img_width: int = 512,
        jit_compile: bool = True,
        *,
        preset: str | checkpoints.Model | None = None,
        dtype: Any = None,
        prediction: checkpoints.Prediction | None = None,
        decoder: str | None = None,
        devices: str | None = None,
    ) -> None:
        self.img_height, self.img_width = arguments.sizes(img_height, img_width)
        if not isinstance(preset, checkpoints.Model):
            given: dict[str, Any] = {"prediction": prediction, "decoder": decoder}
            preset = checkpoints.open_model(preset or self.default_preset, **given)
        self.model = preset
        self.parts = Parts(preset, jit_compile, dtype)
        self.parts.devices = runtime.count_devices(devices)
        self._int8: runtime.Program | None = None
        self._dtype = None if dtype is None else self.parts.dtype_policy.name

    def __getstate__(self) -> dict[str, Any]:
        """All but the programs: a copy compiles its own, and is not quantised."""
        return {**vars(self), "_int8": None}

    @classmethod
    def from_preset(
        cls,
        preset: str,
        img_height: int | None = None,
        img_width: int | None = None,
        jit_compile: bool = True,
        dtype: Any = None,
        prediction: checkpoints.Prediction | None = None,
        decoder: str | None = None,
        devices: str | None = None,
    ) -> StableDiffusion:
        """Open a model by name, folder, file or Hub repository, at the size it was made for."""
        model = checkpoints.open_model(preset, prediction=prediction, decoder=decoder)
        size = model.default_size
        height, width = (size if side is None else side for side in (img_height, img_width))
        return cls(height, width, jit_compile, preset=model, dtype=dtype, devices=devices)

    # Pictures

    def generate(self, request: str | Request | Sequence[Request], **fields: Any) -> list[Picture]:
        """Make the pictures of a prompt or of a request, in one batch.

        Args:
            request: the words, or a whole request, or several, which differ in words, seeds and
                pictures only.
            fields: of ``Request``, such as ``steps=20, count=4, seed=1``; they come before the
                request's own.

        Returns:
            ``count`` pictures. Picture i starts from the noise of ``seed + i``.

        Raises:
            RequestError: a ValueError: a field is out of its range.
            NotFiniteError: a number overflowed, as it may in float16.
        """
        return [made for made in self.stream(request, **fields) if isinstance(made, Picture)]

    def stream(
        self, request: str | Request | Sequence[Request], **fields: Any
    ) -> Iterator[Step | Picture]:
        """Make pictures as ``generate`` does; yield each step, then each picture.
        Pictures that draw words of another length, in chunks, come in a batch of their own. A loop
        that ends early cancels the rest.
        """
        requests = [request] if isinstance(request, str | Request) else request
        completed = [self.completed(each, **fields) for each in requests]
        return generation.stream(self.parts, completed, encoder=self._own_encoder())

    def explain(self, request: str | Request, **fields: Any) -> Explanation:
        """What the model reads of the words: chunks, tokens, weights, and at which steps.

        Takes what ``generate`` takes, and loads no network. ``print`` shows it.

        Example:
            >>> print(load("mini").explain("a (red:1.3) apple", negative_prompt="", seed=1))
            20 steps, 1 x 75 tokens
            prompt, steps 1-20: a (red:1.3) apple
                3  a · red 1.3 · apple
            negative prompt, steps 1-20:
                0
        """
        return explain(self.parts, self.completed(request, **fields))

    def completed(self, request: str | Request, **fields: Any) -> Request:
        """The request that ``generate`` works on, with nothing left open."""
        if isinstance(request, Request):
            request = request.changed(**fields)
        else:
            request = Request(prompt=request, **fields)
        own: dict[str, Any] = {"model": self.model.name, "decoder": self.model.decoder_name}
        own |= {"dtype": self._dtype, "quantize": self.quantized}
        check_own(request, own, self.model.preset, self.parts.dtype_policy.name)
        if request.image is None or request.inpaint_area == "masked":
            own |= {"height": self.img_height, "width": self.img_width}
        return request.with_defaults(**own).completed(self.model)

    def add_tokens(
        self, tokens: str | Sequence[str], embeddings: str | np.ndarray | Sequence[np.ndarray]
    ) -> None:
        """Add words such as "<my-cat>" to the tokenizer and to the text encoder.

        The text encoder is replaced by one with more embeddings and otherwise the same values.

        Args:
            tokens: one or several new words, or words that the tokenizer alone has.
            embeddings: (n, C), a row for each token, for XL a pair of such arrays; or a word of the
                vocabulary, from whose embedding each of them starts.

        Raises:
            ValueError: a token has an embedding already, or the embeddings do not fit.
        """
        tokens = [tokens] if isinstance(tokens, str) else [*tokens]
        if isinstance(embeddings, str):
            rows = [np.repeat(row, len(tokens), axis=0) for row in self.parts.embedding(embeddings)]
        elif isinstance(embeddings, np.ndarray) and embeddings.ndim == 2:
            rows = [embeddings]
        else:
            rows = [np.asarray(each) for each in embeddings]
        self.parts.add_tokens(tokens, rows)

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
        if num_steps is not None:
            with arguments.kerascv_names():
                num_steps = arguments.field("steps", num_steps)

        def paint() -> None:
            for i, prompt in enumerate(prompts):
                self.generate(prompt, steps=num_steps, seed=i)

        m = self.model
        defaults = (m.prediction, m.guidance, m.steps, m.sampler, m.schedule_for(None), m.noise)
        size = (self.img_height, self.img_width)
        programs = [self.parts.evaluate, *([self.parts.decode] if decoder else [])]
        runtime.quantize(programs, paint, repr((size, [*prompts], num_steps, defaults)))
        self._int8 = programs[0]

    @property
    def quantized(self) -> str | None:
        """The mode of ``quantize``, or None; also when the denoiser was changed since."""
        if self._int8 is not None and self._int8 is not self.parts.evaluate:
            self._int8 = None
            warnings.warn(
                "The denoiser was changed since `quantize`, so it computes in float32 until you "
                "call `quantize` again.",
                stacklevel=3,
            )
        return None if self._int8 is None else "int8"


class StableDiffusionV2(StableDiffusion):
    """``StableDiffusion`` whose default is Stable Diffusion 2.1 at 512 pixels."""

    default_preset = "sd2.1-base"


def load(
    name: str,
    *,
    dtype: Any = None,
    jit_compile: bool = True,
    prediction: checkpoints.Prediction | None = None,
    decoder: str | None = None,
    devices: str | None = None,
) -> StableDiffusion:
    """Open a model by preset, folder, file or Hub repository.

    Args:
        name: such as "mini", "sd1.5", "./model.safetensors" or "user/repository".
        dtype, jit_compile, prediction, decoder, devices: see ``StableDiffusion``.

    Example:
        >>> load("mini").generate("a red apple", seed=7)[0].request.seed
        7
    """
    return StableDiffusion.from_preset(
        name,
        jit_compile=jit_compile,
        dtype=dtype,
        prediction=prediction,
        decoder=decoder,
        devices=devices,
    )
