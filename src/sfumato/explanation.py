"""What a model reads of a prompt: at which steps, in which chunks, with which weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from sfumato.encoding import Reading, words_of
from sfumato.parts import Parts
from sfumato.request import Request
from sfumato.text.chunks import Chunk


class Token(NamedTuple):
    """A token between the markers of a chunk."""

    id: int
    text: str
    weight: float


@dataclass(frozen=True)
class Passage:
    """A text that is read at some of the steps.

    Attributes:
        text: with its weights, without schedules.
        steps: from 1.
        weight: among the prompts that AND joins.
        chunks: the tokens of each, as the first text encoder reads them.
    """

    text: str
    steps: tuple[int, ...]
    weight: float
    chunks: tuple[tuple[Token, ...], ...]


@dataclass(frozen=True)
class Explanation:
    """What a model reads of a prompt; `str` shows it, and `to_json` has it in JSON's types.

    Attributes:
        request: completed, of the first picture, its words drawn.
        prompt: the passages of the prompt.
        negative_prompt: those of the negative prompt; none without guidance, which reads none.
        room: the tokens that a chunk has room for.
    """

    request: Request
    prompt: tuple[Passage, ...]
    negative_prompt: tuple[Passage, ...]
    room: int

    @property
    def chunks(self) -> int:
        """The number of chunks that all passages get, the last ones of some being empty."""
        return max(len(each.chunks) for each in (*self.prompt, *self.negative_prompt))

    def to_json(self) -> dict[str, Any]:
        """Everything in JSON's types."""
        found: dict[str, Any] = {"request": self.request.to_json(), "chunks": self.chunks}
        for name in ("prompt", "negative_prompt"):
            passages = [asdict(passage) for passage in getattr(self, name)]
            for passage in passages:
                passage["chunks"] = [[t._asdict() for t in chunk] for chunk in passage["chunks"]]
            found[name] = passages
        return found

    def __str__(self) -> str:
        lines = [f"{self.request.steps} steps, {self.chunks} x {self.room} tokens"]
        for name in ("prompt", "negative_prompt"):
            for passage in getattr(self, name):
                weight = f" (weight {passage.weight:g})" if passage.weight != 1 else ""
                title = name.replace("_", " ")
                line = f"{title}, steps {_spans(passage.steps)}{weight}: {passage.text}"
                lines.append(line.rstrip())
                lines += [f"  {len(c):>3}  {_shown(c)}".rstrip() for c in passage.chunks]
        return "\n".join(lines)


def explain(parts: Parts, request: Request) -> Explanation:
    """Explain the words of a completed request; no network is loaded."""
    single = request.singles()[0]
    length = parts.model.checkpoint.text_encoder_config("text_encoder").length
    wordings = words_of(single, single.plan(parts.model).steps)

    def passages(texts: list[tuple[str, float]]) -> list[Passage]:
        """Each text once, with the steps that have it."""
        steps: dict[tuple[str, float], list[int]] = {}
        for step, words in enumerate(texts, 1):
            steps.setdefault(words, []).append(step)
        return [
            Passage(text, tuple(at), weight, _chunks(parts, text, length, single))
            for (text, weight), at in steps.items()
        ]

    prompts = zip(*(words.prompts for words in wordings), strict=True)  # each one's, step by step
    negatives = [(words.negative, 1.0) for words in wordings] if single.is_guided else []
    found = tuple(passage for texts in prompts for passage in passages([*texts]))
    return Explanation(single, found, tuple(passages(negatives)), length - 2)


def _chunks(
    parts: Parts, text: str, length: int, request: Request
) -> tuple[tuple[Token, ...], ...]:
    """The tokens of each chunk of a text; a learned word's have its name."""
    tokenizer = parts.tokenizer

    def tokens(chunk: Chunk) -> tuple[Token, ...]:
        pairs = zip(chunk.tokens.tolist(), chunk.weights.tolist(), strict=True)
        names = {place: name for place, name, _ in chunk.learned}
        inner = [*enumerate(pairs)][1 : chunk.size + 1]
        return tuple(
            Token(id, names.get(i) or tokenizer.decode([id]), round(weight, 6))
            for i, (id, weight) in inner
        )

    chunks = Reading.of(request, parts).chunks(text, tokenizer, length)
    return tuple(map(tokens, chunks))


def _shown(chunk: tuple[Token, ...]) -> str:
    """The tokens in a line, each with its weight unless that is 1."""
    weights = [f" {token.weight:.4g}" if token.weight != 1 else "" for token in chunk]
    return " · ".join(f"{t.text}{weight}" for t, weight in zip(chunk, weights, strict=True))


def _spans(steps: tuple[int, ...]) -> str:
    """Steps in short: 1-3, 5, 7-9."""
    spans: list[list[int]] = []
    for step in steps:
        if spans and spans[-1][-1] == step - 1:
            spans[-1][1:] = [step]
        else:
            spans.append([step])
    return ", ".join("-".join(map(str, span)) for span in spans)
