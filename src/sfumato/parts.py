"""A model's networks and programs, loaded and compiled when they are first touched."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar, overload

import keras
import numpy as np
from keras import ops

from sfumato import programs, runtime
from sfumato.checkpoints import Model
from sfumato.checkpoints.filling import holds
from sfumato.loras import NETWORKS, LorasInUse
from sfumato.networks.configs import UNetConfig
from sfumato.networks.denoiser import Denoiser
from sfumato.networks.network import Network
from sfumato.networks.text_encoder import TextEncoder
from sfumato.networks.unet import UNet
from sfumato.request import RequestError
from sfumato.runtime.contents import Contents, contents, is_layer, require_values, retrack, same
from sfumato.text.tokenizer import Tokenizer

Loaded = TypeVar("Loaded")


class Part(Generic[Loaded]):
    """An attribute that is loaded when it is first touched, and may be replaced by assignment.

    Args:
        load: the part of a model.
        must: what a replacement must be, for the error message.
        fits: whether a value is that.
    """

    def __init__(
        self, load: Callable[[Parts], Loaded], must: str, fits: Callable[[Any], bool]
    ) -> None:
        self.load = load
        self.must = must
        self.fits = fits
        self.name = load.__name__
        self.__doc__ = load.__doc__

    @overload
    def __get__(self, parts: None, owner: type) -> Part[Loaded]: ...
    @overload
    def __get__(self, parts: Parts, owner: type) -> Loaded: ...
    def __get__(self, parts: Parts | None, owner: type) -> Any:
        if parts is None:
            return self
        found = vars(parts)
        if self.name not in found:
            with parts.lock:  # the second thread finds it loaded
                if self.name not in found:
                    found[self.name] = self.load(parts)
        return found[self.name]

    def __set__(self, parts: Parts, value: Loaded) -> None:
        if not self.fits(value):
            raise ValueError(f"`{self.name}` must be {self.must}. Received: {value!r}")
        parts.loras.use(())
        vars(parts)[self.name] = value


def part(
    must: str, fits: Callable[[Any], bool]
) -> Callable[[Callable[[Parts], Loaded]], Part[Loaded]]:
    """Make a ``Part`` of the method that loads it."""
    return lambda load: Part(load, must, fits)


def as_list(network: Any) -> list[Any]:
    return network if isinstance(network, list) else [network]


class Made(NamedTuple):
    """A program and what it was made of."""

    jit_compile: bool
    contents: Contents
    program: runtime.Program


class Parts:
    """The parts of one loaded model, each of which may be replaced by assignment.

    A program is made again when the networks that it was made of are others, or have other layers
    or variables.

    Args:
        model: the checkpoint and its settings.
        jit_compile: compile each program whole (XLA; under torch, inductor).
        dtype: a dtype or a Keras dtype policy; default: the global policy.
    """

    def __init__(self, model: Model, jit_compile: bool = True, dtype: Any = None) -> None:
        self.model, self.jit_compile = model, jit_compile
        self.devices = 1  # that share a batch
        self.dtype_policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        self.lock, self.loras = threading.RLock(), LorasInUse(self)
        self.refiner: tuple[str, Parts] | None = None
        self.controls: dict[Any, Any] = {}  # loaded ControlNets; see ``controlling``
        self.image_prompts: dict[Any, Any] = {}  # loaded IP-Adapters; see ``remembering``
        self._programs: dict[Callable[..., Any], Made] = {}

    def __getstate__(self) -> dict[str, Any]:
        """All but the programs, and the networks that the model's files have as they are."""
        self.loras.use(())
        state = {**vars(self), "controls": {}, "image_prompts": {}, "refiner": None}
        del state["lock"], state["loras"], state["_programs"]
        for name, tensors in self.model.checkpoint.parts.items():
            network = state.get(NETWORKS.get(name, name))
            if isinstance(network, Network) and holds(network, tensors):
                del state[NETWORKS.get(name, name)]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, lock=threading.RLock(), loras=LorasInUse(self), _programs={})

    def require(self, name: str) -> None:
        """Raise a CheckpointError if a part is neither loaded nor in the model's files."""
        if name not in vars(self):
            self.model.checkpoint.shapes(name)

    # Networks

    @part("a Tokenizer, or a function of text and length", callable)
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer("tokenizer", self.model.pad_tokens[0])

    @part("a Tokenizer, or a function of text and length", callable)
    def tokenizer_2(self) -> Tokenizer:
        """XL's tokenizer for its second text encoder: the same words, another padding."""
        return self._tokenizer("tokenizer_2", self.model.pad_tokens[-1])

    def _tokenizer(self, part: str, pad_token: int) -> Tokenizer:
        """The folder's, or CLIP's own where the model has none; its words must have embeddings."""
        tokenizer = Tokenizer.from_folder(self.model.checkpoint.path / part, pad_token)
        encoder = part.replace("tokenizer", "text_encoder")
        self.model.check_words(encoder, len(tokenizer))
        return tokenizer

    @part("a TextEncoder", lambda value: isinstance(value, TextEncoder))
    def text_encoder(self) -> TextEncoder:
        return self.model.text_encoder(self.dtype_policy)

    @part("a TextEncoder or None", lambda value: isinstance(value, TextEncoder | None))
    def text_encoder_2(self) -> TextEncoder | None:
        """XL's second text encoder."""
        return self.model.text_encoder_2(self.dtype_policy)

    @part(
        "a UNet, or another Keras model with `prepare` and `predict` of a Denoiser",
        lambda value: is_layer(value) and isinstance(value, Denoiser),
    )
    def diffusion_model(self) -> UNet:
        return self.model.unet(self.dtype_policy)

    @part("a Keras model, from latents (B, h, w, C) to pictures (B, H, W, 3) of -1..1", is_layer)
    def decoder(self) -> Network:
        return self.model.decoder(self._autoencoder_policy)

    @part("a Keras model, from pictures (B, H, W, 3) of -1..1 to latents (B, h, w, C)", is_layer)
    def image_encoder(self) -> Network:
        return self.model.image_encoder(self._autoencoder_policy)

    @property
    def _autoencoder_policy(self) -> Any:
        is_half = self.dtype_policy.compute_dtype == "float16"
        overflows = self.model.family.overflows_in_float16
        return "float32" if is_half and overflows else self.dtype_policy

    # What goes from one to the other

    def embedding(self, word: str) -> list[np.ndarray]:
        """The embedding (1, C) of a word in each text encoder."""
        ids = self.tokenizer.encode(word)[1:-1]
        if len(ids) != 1:
            raise RequestError("embeddings", "be a word of one token", f"{word!r}: {len(ids)}")
        tables = [e.embeddings.token_embedding.embeddings for e in self._encoders()]
        return [ops.convert_to_numpy(ops.take(table, ids, axis=0)) for table in tables]

    def add_tokens(self, tokens: Sequence[str], rows: Sequence[np.ndarray]) -> None:
        """Add tokens to each tokenizer and their embeddings to each text encoder.

        Args:
            tokens: words without an embedding.
            rows: (n, C) for each text encoder.
        """
        self.loras.use(())
        encoders = self._encoders()
        shapes = [(len(tokens), encoder.config.width) for encoder in encoders]
        if [row.shape for row in rows] != shapes:
            must = f"have shape {' and '.join(map(str, shapes))} for {len(tokens)} tokens"
            raise RequestError("embeddings", must, f"{[row.shape for row in rows]}")

        # The tokenizer may know them already. Either way they must be the next of the text encoder.
        words = [word.lower() for word in self.tokenizer.vocab]
        words += dict.fromkeys(t.lower() for t in tokens if t.lower() not in words)
        ids = [words.index(token.lower()) for token in tokens]
        count = encoders[0].config.vocabulary
        if ids != [*range(count, count + len(ids))]:
            must = f"be new words, which become the tokens from {count} on"
            raise RequestError("tokens", must, f"{', '.join(tokens)}, which are {ids}")

        names = (("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2"))
        grown = [encoder.grown(row) for encoder, row in zip(encoders, rows, strict=True)]
        for (tokenizer, name), encoder in zip(names, grown, strict=False):
            getattr(self, tokenizer).add_tokens(tokens)
            setattr(self, name, encoder)

    def check_tokens(self, tokens: Sequence[np.ndarray]) -> None:
        """Raise a RequestError unless each token has an embedding in its text encoder.

        Args:
            tokens: (1, T) for each text encoder.
        """
        names = ("tokenizer", "tokenizer_2")
        for name, ids, encoder in zip(names, tokens, self._encoders(), strict=False):
            ids = np.asarray(ids)
            length, count = encoder.config.length, encoder.config.vocabulary
            if ids.shape != (1, length):
                must = f"make {length} tokens of a text"
                raise RequestError(name, must, f"tokens of shape {ids.shape}")
            if not 0 <= ids.min() <= ids.max() < count:
                must = (
                    f"have no more tokens than the text encoder has embeddings, {count}: "
                    "`model.add_tokens` adds both"
                )
                raise RequestError(name, must, f"the token {ids.max()}")

    def check_encoded(self, context: np.ndarray, pooled: np.ndarray | None) -> None:
        """Raise a RequestError unless encodings have the shapes that the denoiser reads.

        Args:
            context: (B, T, C).
            pooled: (B, P); None: there is none, as XL needs one.
        """
        c = getattr(self.diffusion_model, "config", None)
        if not isinstance(c, UNetConfig):  # of another make
            return
        wanted: dict[str, tuple[Any, tuple[int, ...]]] = {
            "encoded_text": (context, (self.text_encoder.config.length, c.context_width))
        }
        if c.added_width:
            wanted["pooled_text"] = (pooled, (c.added_width - c.sizes * c.size_embedding,))
        for name, (given, shape) in wanted.items():
            if given is None:
                must = "be given for a model of the XL family"
                raise RequestError(name, must, f"{name}=None")
            if given.shape[1:] != shape:
                must = f"have shape {shape} for each picture, as the denoiser reads it"
                raise RequestError(name, must, f"{name} of shape {given.shape}")

    def _encoders(self) -> list[TextEncoder]:
        return [e for e in (self.text_encoder, self.text_encoder_2) if e is not None]

    # Programs

    @property
    def encode_text(self) -> runtime.Program:
        return self._program(programs.encode_text, self._encoders())

    @property
    def prepare(self) -> runtime.Program:
        return self._program(programs.prepare, self.diffusion_model)

    @property
    def evaluate(self) -> runtime.Program:
        """The one program of the denoising loop."""
        return self._program(programs.evaluate, self.diffusion_model)

    @property
    def decode(self) -> runtime.Program:
        return self._program(programs.decode, self.decoder)

    @property
    def encode_picture(self) -> runtime.Program:
        return self._program(programs.encode_picture, self.image_encoder)

    def _program(self, function: Callable[..., Any], network: Any) -> runtime.Program:
        """The program made before, unless it was made of something else."""
        networks = as_list(network)
        with self.lock:
            found = contents(networks)
            require_values(networks, found.variables)
            known = self._programs.get(function)
            if known and known.jit_compile == self.jit_compile and same(known.contents, found):
                return known.program
            retrack(networks)
            program = self.compile(function, network)
            self._programs[function] = Made(self.jit_compile, contents(networks), program)
            return program

    def compile(self, function: Callable[..., Any], network: Any) -> runtime.Program:
        """A function of a network, or of several, and arrays as a program of the arrays."""
        f = partial(function, network)
        return runtime.compile(f, as_list(network), self.jit_compile, self.devices)
