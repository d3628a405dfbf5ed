"""The words of a picture, step by step.

There are two grammars. "a1111" is that of `schedules` and `emphasis`, for prompts of any length.
"plain" is none: a prompt is what it says, cut at 77 tokens.
"""

from __future__ import annotations

from typing import NamedTuple

from sfumato.text.schedules import joined, scheduled


class Wording(NamedTuple):
    """The texts that the denoiser reads at one step."""

    prompts: tuple[tuple[str, float], ...]
    """One, or those that AND joins, each with its weight."""
    negative: str

    @property
    def texts(self) -> tuple[str, ...]:
        return (*(text for text, _ in self.prompts), self.negative)


def wordings(prompt: str, negative: str, steps: int, syntax: str = "a1111") -> list[Wording]:
    """The texts at each of ``steps``.

    Example:
        >>> [words.prompts for words in wordings("a [cat:dog:1]", "", 2)]
        [(('a cat', 1.0),), (('a dog', 1.0),)]
    """
    if syntax == "plain":
        return [Wording(((prompt, 1.0),), negative)] * steps
    parts = [(_at_steps(text, steps), weight) for text, weight in joined(prompt)]
    negatives = _at_steps(negative, steps)
    return [
        Wording(tuple((texts[step], weight) for texts, weight in parts), negatives[step])
        for step in range(steps)
    ]


def _at_steps(text: str, steps: int) -> list[str]:
    """The text at each step."""
    texts: list[str] = []
    for last, words in scheduled(text, steps):
        texts += [words] * (last - len(texts))
    return texts
