"""Texts to what the denoiser reads: divided into chunks, encoded, weighed and joined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from sfumato.checkpoints import Model
from sfumato.finite import check_finite
from sfumato.networks.denoiser import Conditioning
from sfumato.parts import Parts
from sfumato.request import Request
from sfumato.text.chunks import Chunk, chunks_of, cut
from sfumato.text.tokenizer import Tokenizer
from sfumato.text.weighting import weigh
from sfumato.text.wording import Wording, wordings


class Encoded(NamedTuple):
    """Texts as the denoiser reads them."""

    context: np.ndarray  # (B, T, C)
    pooled: np.ndarray | None  # (B, P); only XL reads it

    def rows(self, rows: slice) -> Encoded:
        """Some of the texts."""
        return Encoded(self.context[rows], None if self.pooled is None else self.pooled[rows])


Encode = Callable[[Sequence[str]], Encoded]
"""Encode texts as the denoiser reads them."""


class Reading(NamedTuple):
    """The fields of a request that say how its words are read."""

    syntax: str = "plain"
    emphasis: str = "original"
    clip_skip: int = 1

    @classmethod
    def of(cls, request: Request, model: Model) -> Reading:
        clip_skip = request.clip_skip if model.family.reads_any_layer else 1
        return cls(request.prompt_syntax, request.emphasis, clip_skip)


PLAIN = Reading()


class Encoder:
    """Encodes texts, each once.

    Args:
        parts: the model's.
        reading: how the texts are read.
        count: the number of chunks that they all get.
    """

    def __init__(self, parts: Parts, reading: Reading = PLAIN, count: int = 1) -> None:
        self.parts, self.reading, self.count = parts, reading, count
        self.length = parts.text_encoder.config.length
        self.tokenizers = tokenizers(parts)
        self.found: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def __call__(self, texts: Sequence[str]) -> Encoded:
        """Encode each text by itself: one executable serves any number of them."""
        for text in texts:
            if text not in self.found:
                self.found[text] = self.encode(text)
        found = [self.found[text] for text in texts]
        context, pooled = (np.concatenate([each[i] for each in found]) for i in (0, 1))
        return Encoded(context, pooled)

    def encode(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """The context (1, T, C) of all chunks of a text, and the pooled vector of the first."""
        rows = [chunks_of(text, t, self.length, *self.reading[:2]) for t in self.tokenizers]
        for row, empty in zip(rows, self.empty(), strict=True):
            row += [empty] * (self.count - len(row))
        chunks = [*zip(*rows, strict=True)]  # of all text encoders
        contexts, pooled = zip(*map(self.run, chunks), strict=True)
        weighed = [self.weighed(*pair) for pair in zip(contexts, chunks, strict=True)]
        return np.concatenate(weighed, axis=1), pooled[0]

    def empty(self) -> list[Chunk]:
        """The chunk of the empty prompt for each text encoder."""
        return [cut("", tokenizer, self.length) for tokenizer in self.tokenizers]

    def run(self, chunks: Sequence[Chunk]) -> tuple[np.ndarray, np.ndarray]:
        """The context (1, T, C) and the pooled vector (1, P) of one chunk for each text encoder."""
        skip = self.reading.clip_skip
        settings = {"clip_skip": skip} if skip > 1 else {}
        tokens = [chunk.tokens[None] for chunk in chunks]
        self.parts.check_tokens(tokens)
        found = [ops.convert_to_numpy(x) for x in self.parts.encode_text(tokens, **settings)]
        is_finite = all(np.isfinite(x).all() for x in found)
        check_finite(self.parts, is_finite, "The encoded text is", "text_encoder", "text_encoder_2")
        return found[0], found[1]

    def weighed(self, context: np.ndarray, chunks: Sequence[Chunk]) -> np.ndarray:
        """The context (1, T, C) of one chunk, weighed for each text encoder by itself."""
        if all(chunk.is_plain for chunk in chunks):
            return context
        first = self.parts.text_encoder.config.width
        emphasis = self.reading.emphasis
        empty = self.run(self.empty())[0] if emphasis == "comfyui" else context
        halves = zip(np.split(context[0], [first], 1), np.split(empty[0], [first], 1), strict=True)
        weighed = [
            weigh(vectors, chunk.weights, emphasis, away)
            for (vectors, away), chunk in zip(halves, chunks, strict=False)  # 1.x has one encoder
        ]
        return np.concatenate(weighed, axis=1)[None]


def tokenizers(parts: Parts) -> list[Tokenizer]:
    """The tokenizer of each text encoder."""
    return [parts.tokenizer, *([parts.tokenizer_2] if parts.text_encoder_2 is not None else [])]


def words_of(request: Request, steps: int) -> list[Wording]:
    """The texts of one picture at each step."""
    negative = request.negative_prompt or ""
    return wordings(request.prompt, negative, steps, request.prompt_syntax)


def extent(parts: Parts, request: Request) -> tuple[int, int]:
    """The number of prompts that AND joins in a picture's words, and of chunks of the longest.

    Pictures of one extent go through one loop.
    """
    if request.prompt_syntax == "plain":
        return 1, 1
    words = words_of(request, request.plan(parts.model).steps)
    length, reading = parts.text_encoder.config.length, Reading.of(request, parts.model)
    read = {text for each in words for text in each.read(request.is_guided)}
    chunks = [
        chunks_of(text, tokenizer, length, *reading[:2])
        for text in read
        for tokenizer in tokenizers(parts)
    ]
    return len(words[0].prompts), max(map(len, chunks))


class Told:
    """The conditioning of a batch at each step, prepared when it is first needed.

    Args:
        parts: the model's.
        singles: completed requests, one for each picture.
        steps: of the sampler.
        encoded: the prompts, encoded before; default: they are encoded here.
        own: encodes texts in place of the model's encoders.
    """

    def __init__(
        self,
        parts: Parts,
        singles: Sequence[Request],
        steps: int,
        encoded: Encoded | None = None,
        own: Encode | None = None,
    ) -> None:
        self.parts, self.singles, self.encoded = parts, singles, encoded
        self.words = [words_of(single, steps) for single in singles]
        count = extent(parts, singles[0])[1] if encoded is None else 1
        self.encode = own or Encoder(parts, Reading.of(singles[0], parts.model), count)
        self.known: dict[tuple[Any, bool], Conditioning] = {}
        self.own_prepare: Callable[..., Conditioning] | None = None

    def of(self, prepare: Callable[..., Conditioning]) -> Told:
        """The same words for another network, which prepares them in its own way."""
        other = copy(self)
        other.known, other.own_prepare = {}, prepare
        return other

    def __call__(self, step: int, guided: bool) -> Conditioning:
        """The conditioning at a step, 0 for the first, with the negative prompts or without."""
        return self.at(tuple(each[step] for each in self.words), guided)

    def at(self, words: tuple[Wording, ...], guided: bool) -> Conditioning:
        """The conditioning for the words of each picture."""
        if (words, guided) not in self.known:
            first, asked = self.singles[0], len(words) * len(words[0].prompts)
            perturbed = asked if first.pag_scale else 0
            if guided == first.is_guided:
                found = self.prepare(words)
            else:
                found = self.at(words, True).of_prompts(asked + perturbed)
            rows = (asked, perturbed, found.batch - asked - perturbed)
            attending = np.repeat(np.array([1, 0, 1], "float32"), rows)[:, None, None]
            self.known[words, guided] = found._replace(
                shares=shares(words, guided), attending=attending if perturbed else None
            )
        return self.known[words, guided]

    def prepare(self, words: tuple[Wording, ...]) -> Conditioning:
        """Prepare what the denoiser reads; guided: negative prompts, too."""
        parts, first = self.parts, self.singles[0]
        prepare = self.own_prepare or parts.prepare
        count = len(words[0].prompts)
        texts = [each.prompts[k][0] for k in range(count) for each in words]
        context, pooled = self.checked(self.encoded or self.encode(texts))
        if first.pag_scale:
            context = np.concatenate([context] * 2)
            pooled = None if pooled is None else np.concatenate([pooled] * 2)
        takes_sizes = parts.diffusion_model.takes_sizes

        if first.is_guided:
            negatives = self.checked(self.encode([each.negative for each in words]))
            # XL was trained with zeros where there is no negative prompt.
            zeros = [parts.model.zero_negative and s.negative_prompt is None for s in self.singles]
            keep = 1 - np.array(zeros, "float32")[:, None]  # (B, 1)
            context = np.concatenate([context, keep[..., None] * negatives.context])
            if takes_sizes and pooled is not None:
                pooled = np.concatenate([pooled, keep * negatives.pooled])

        if not takes_sizes:
            return prepare(context, None, None)
        size = (first.height, first.width)
        sizes = np.array([[*size, 0, 0, *size]] * len(context), "float32")
        return prepare(context, pooled, sizes)

    def checked(self, encoded: Encoded) -> Encoded:
        """Encodings that the denoiser reads; only the model's own have several chunks."""
        context, pooled = encoded
        if isinstance(self.encode, Encoder) and self.encoded is None:
            context = context[:, : self.encode.length]
        self.parts.check_encoded(context, pooled)
        return encoded


def shares(words: tuple[Wording, ...], guided: bool) -> np.ndarray | None:
    """The weights (n, B) of prompts that AND joins; without guidance their sum is 1."""
    if len(words[0].prompts) == 1:
        return None
    weights = np.array([[weight for _, weight in each.prompts] for each in words], "float32").T
    total = weights.sum(0)
    return weights if guided else weights / np.where(total == 0, 1, total)
