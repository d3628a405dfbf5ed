"""The words of each step as the denoiser reads them, prepared once for the same words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import numpy as np

from sfumato.encoding import Encode, Encoded, Encoder, Reading, extent, words_of
from sfumato.networks.denoiser import Conditioning
from sfumato.parts import Parts
from sfumato.request import Request
from sfumato.text.wording import Wording


class Told:
    """The conditioning of a batch at each step, prepared when it is first needed.

    Args:
        parts: the model's.
        singles: completed requests, one for each picture.
        steps: of the sampler.
        encoded: the prompts, encoded before; default: they are encoded here.
        own: encodes texts in place of the model's encoders.
        also: adds to a conditioning what else the denoiser attends to, in its first rows.
    """

    def __init__(
        self,
        parts: Parts,
        singles: Sequence[Request],
        steps: int,
        encoded: Encoded | None = None,
        own: Encode | None = None,
        also: Callable[[Conditioning, int], Conditioning] | None = None,
    ) -> None:
        self.parts, self.singles, self.encoded, self.also = parts, singles, encoded, also
        self.words = [words_of(single, steps) for single in singles]
        count = extent(parts, singles[0], steps)[1] if encoded is None else 1
        self.encode = own or Encoder(parts, Reading.of(singles[0], parts), count)
        self.known: dict[tuple[Any, bool], Conditioning] = {}
        self.own_prepare: Callable[..., Conditioning] | None = None

    def of(self, prepare: Callable[..., Conditioning]) -> Told:
        """The same words for another network, which prepares them in its own way."""
        other = copy(self)
        other.known, other.own_prepare, other.also = {}, prepare, None
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
        count = len(words[0].prompts)
        texts = [each.prompts[k][0] for k in range(count) for each in words]
        context, pooled = self.checked(self.encoded or self.encode(texts))
        if first.pag_scale:
            context = np.concatenate([context] * 2)
            pooled = None if pooled is None else np.concatenate([pooled] * 2)
        prompts, takes_sizes = len(context), parts.diffusion_model.takes_sizes

        if first.is_guided:
            negatives = self.checked(self.encode([each.negative for each in words]))
            # XL was trained with zeros where there is no negative prompt.
            zeros = [parts.model.zero_negative and s.negative_prompt is None for s in self.singles]
            keep = 1 - np.array(zeros, "float32")[:, None]  # (B, 1)
            times = 1 if first.image_guidance is None else 2  # with the picture and without
            context = np.concatenate([context, *times * [keep[..., None] * negatives.context]])
            if takes_sizes and pooled is not None:
                pooled = np.concatenate([pooled, *times * [keep * negatives.pooled]])

        sizes = None
        if takes_sizes:
            size = (first.height or 0, first.width or 0)
            rows = [parts.model.sizes(*size, negative=i >= prompts) for i in range(len(context))]
            sizes = np.array(rows, "float32")
        given = (context, pooled if takes_sizes else None, sizes)
        if self.own_prepare:
            return self.own_prepare(*given)
        with parts.loras.of(first.loras):
            found = parts.prepare(*given)
        return self.also(found, prompts) if self.also else found

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
