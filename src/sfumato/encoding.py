"""Texts to what the denoiser reads: divided into chunks, encoded, weighed and joined."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from sfumato.adapters.embedding import MADE_FOR, Embedding
from sfumato.finite import check_finite
from sfumato.networks.text_encoder import LearnedRows
from sfumato.parts import Parts
from sfumato.request import Request, RequestError
from sfumato.text.chunks import Chunk, chunks_of, cut
from sfumato.text.learned import PLAIN_NAMES as MARKS
from sfumato.text.learned import Learned, missing
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
    loras: tuple[Any, ...] = ()
    embeddings: Mapping[str, Embedding] = MappingProxyType({})

    @classmethod
    def of(cls, request: Request, parts: Parts) -> Reading:
        clip_skip = request.clip_skip if parts.model.family.reads_any_layer else 1
        embeddings = {**parts.loras.words(request.loras), **request.embeddings}
        words = request.prompt_syntax, request.emphasis, clip_skip
        return cls(*words, request.loras, embeddings)

    def chunks(self, text: str, tokenizer: Tokenizer, length: int) -> list[Chunk]:
        """The chunks of a text as a tokenizer makes them."""
        learned = None
        if self.embeddings and isinstance(tokenizer, Tokenizer):
            counts = tuple((name, len(each)) for name, each in self.embeddings.items())
            learned = learned_by(tokenizer, len(tokenizer), counts)
        return chunks_of(text, tokenizer, length, self.syntax, self.emphasis, learned)


@lru_cache(8)
def learned_by(tokenizer: Tokenizer, _words: int, counts: tuple[tuple[str, int], ...]) -> Learned:
    """The learned words that a tokenizer of so many words finds."""
    return Learned(tokenizer, dict(counts))


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
        rows = [self.reading.chunks(text, t, self.length) for t in self.tokenizers]
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
        learned = self.learned(chunks)
        inputs = [tokens] if learned is None else [tokens, learned]
        with self.parts.loras.of(self.reading.loras):
            found = [ops.convert_to_numpy(x) for x in self.parts.encode_text(*inputs, **settings)]
        is_finite = all(np.isfinite(x).all() for x in found)
        check_finite(self.parts, is_finite, "The encoded text is", "text_encoder", "text_encoder_2")
        return found[0], found[1]

    def learned(self, chunks: Sequence[Chunk]) -> list[LearnedRows] | None:
        """The learned vectors of one chunk for each text encoder; None: there are none."""
        if not any(chunk.learned for chunk in chunks):
            return None
        widths = text_widths(self.parts)
        found = []
        for encoder, (chunk, width) in enumerate(zip(chunks, widths, strict=True)):
            places = np.zeros((1, self.length, 1), bool)
            rows = np.zeros((1, self.length, width), "float32")
            for place, name, row in chunk.learned:
                embedding = self.reading.embeddings[name]
                check_embedding(name, embedding, widths)
                places[0, place], rows[0, place] = True, embedding.vectors[encoder][row]
            found.append(LearnedRows(places, rows))
        return found

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


def check_embedding(name: str, embedding: Embedding, widths: Sequence[int]) -> None:
    """Refuse an embedding for other text encoders than those of these widths."""
    if embedding.widths != tuple(widths):
        ours = MADE_FOR.get(tuple(widths), f"text encoders of width {tuple(widths)}")
        must = f"be for {ours} where the prompt names them"
        raise RequestError("embeddings", must, f"{name!r}, which is for {embedding.made_for}")


def text_widths(parts: Parts) -> tuple[int, ...]:
    """The width of each text encoder."""
    encoders = (parts.text_encoder, parts.text_encoder_2)
    return tuple(encoder.config.width for encoder in encoders if encoder is not None)


def tokenizers(parts: Parts) -> list[Tokenizer]:
    """The tokenizer of each text encoder."""
    return [parts.tokenizer, *([parts.tokenizer_2] if parts.text_encoder_2 is not None else [])]


def words_of(request: Request, steps: int) -> list[Wording]:
    """The texts of one picture at each step."""
    negative = request.negative_prompt or ""
    return wordings(request.prompt, negative, steps, request.prompt_syntax)


def extent(parts: Parts, request: Request, steps: int | None = None) -> tuple[int, int]:
    """The number of prompts that AND joins in a picture's words, and of chunks of the longest.

    ``steps`` are the sampler's; default: those of the request's plan.

    Pictures of one extent go through one loop.
    """
    if request.prompt_syntax == "plain":
        return 1, 1
    words = words_of(request, steps or request.plan(parts.model).steps)
    length, reading = parts.text_encoder.config.length, Reading.of(request, parts)
    read = {text for each in words for text in each.read(request.is_guided)}
    chunks = [reading.chunks(text, t, length) for text in read for t in tokenizers(parts)]
    return len(words[0].prompts), max(map(len, chunks))


def named(parts: Parts, request: Request) -> Request:
    """The request of one picture with those of its embeddings that its words name.

    Warns:
        UserWarning: the words name some that are not there.
    """
    if not (
        request.embeddings or MARKS.search(f"{request.prompt} {request.negative_prompt or ''}")
    ):
        return request
    length, reading = parts.text_encoder.config.length, Reading.of(request, parts)
    words = words_of(request, request.plan(parts.model).steps)
    read = sorted({text for each in words for text in each.read(request.is_guided)})
    tokenizer = parts.tokenizer
    if not isinstance(tokenizer, Tokenizer):
        return request
    names = {
        place.name
        for text in read
        for chunk in reading.chunks(text, tokenizer, length)
        for place in chunk.learned
    }
    if lost := sorted({m for text in read for m in missing(text, reading.embeddings, tokenizer)}):
        warnings.warn(
            f"Read as words, as no embedding of that name is here: {', '.join(lost)}", stacklevel=2
        )
    own = sorted(names & request.embeddings.keys())
    return replace(request, embeddings={name: request.embeddings[name] for name in own})
