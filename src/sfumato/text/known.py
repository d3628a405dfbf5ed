"""The words of prompts that a model has not learnt, where it is known which it has."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from sfumato.text.emphasis import sections_of

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*+")
_TAG = re.compile(r"<[^<>]*>")  # a network of A1111, or a token that a user added
_JOINT = re.compile("['’-]")


def unknown_words(texts: Iterable[str], known: Collection[str], emphasis: str) -> list[str]:
    """The words of texts that are not among the known ones, each once, in lower case.

    Args:
        texts: as the denoiser reads them at a step.
        known: words in lower case. One with a hyphen is known by its parts, too.
        emphasis: as in `weighting`; marks of weights are no words.

    Example:
        >>> unknown_words(["a (Zebra:1.3), two cats"], {"a", "two", "cats"}, "original")
        ['zebra']
    """
    pieces = (
        piece.text
        for text in dict.fromkeys(texts)
        for section in sections_of(text, emphasis)
        for piece in section
    )
    found = (word for text in pieces for word in _WORD.findall(_TAG.sub(" ", text.lower())))
    return [word for word in dict.fromkeys(found) if not _is_known(word, known)]


def _is_known(word: str, known: Collection[str]) -> bool:
    parts = _JOINT.split(word.removesuffix("'s").removesuffix("’s"))
    return word in known or all(part in known for part in parts)
