"""The grammars in which other programs write weights, put into A1111's.

ComfyUI's, NovelAI's and InvokeAI's. Any text can be read, in time proportional to its length. What
is a mark in A1111's grammar and a mere character in theirs gets a backslash.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

LIMIT = 1000.0
"""The largest weight, so that thousands of brackets make no infinite number."""

# Nothing is tried twice (`*+`, `++`), so reading takes linear time.
_TOKEN = re.compile(r"\\[()]|[()]|[^\\()]++|\\")
_BRACE = re.compile(r"[][{}]|[^][{}]++")
_OPENS = {"}": "{", "]": "["}
_NUMBER = r"[+-]?(?:\d++(?:\.\d*+)?|\.\d++)"
_STANDS_LAST = re.compile(rf"(?<![\w.])({_NUMBER})$")  # before NovelAI's "::"
_SUFFIX = re.compile(rf"[+]++|-(?![\d.])-*+|{_NUMBER}")  # behind InvokeAI's brackets
_JOINS = re.compile(r"\)\s*\.(and|blend|swap)\(")

Pieces = Iterable[tuple[str, float]]


def from_comfyui(text: str, keep: str = "") -> str:
    """ComfyUI's: `(x)` is 1.1 times as strong, `(x:1.3)` has the weight 1.3 wherever it stands.

    Args:
        keep: characters that are marks in both grammars.

    Example:
        >>> from_comfyui("[a] ((red:1.3) apple)")
        '\\\\[a\\\\] (red:1.3)( apple:1.1)'
    """
    texts = _TOKEN.findall(text)
    pairs = _pairs(texts)
    stated = {}  # the weight of each bracket that states one
    for opens, closes in pairs.items():
        before, colon, number = texts[closes - 1].rpartition(":")
        weight = _number(number)
        if colon and weight is not None and (before or closes - 1 > opens + 1):
            stated[opens], texts[closes - 1] = weight, before

    weights, pieces, closing = [1.0], [], {*pairs.values()}
    for i, word in enumerate(texts):
        if i in pairs:
            weights.append(stated.get(i, _limited(1.1 * weights[-1])))
        elif i in closing:
            weights.pop()
        else:
            pieces.append((word[-1] if word in ("\\(", "\\)") else word, weights[-1]))
    return _written(pieces, keep)


def from_novelai(text: str) -> str:
    """NovelAI's: `{x}` is 1.05 times as strong, `[x]` as much weaker, `1.5::x::` has its weight.

    Example:
        >>> from_novelai("{{red}} apple (small), 1.5::leaf::")
        '(red:1.1025) apple \\\\(small\\\\), (leaf:1.5)'
    """
    pieces, stated, opened = [], 1.0, {"{": 0, "[": 0}
    *parts, last = text.split("::")
    for part in parts:
        number = _STANDS_LAST.search(part[-20:])
        words = part[: -len(number[1])] if number else part
        pieces += _braced(words, stated, opened)
        stated = _limited(float(number[1])) if number else 1.0
    return _written([*pieces, *_braced(last, stated, opened)])


def from_invokeai(text: str) -> str:
    """InvokeAI's (Compel's): `red+` is 1.1 times as strong, `(a cat)--` 0.81, `(a cat)1.3` 1.3.

    A prompt that joins others (`joins`) is text without marks.

    Example:
        >>> from_invokeai("a red++ (small apple)0.8")
        'a (red:1.21) (small apple:0.8)'
    """
    if joins(text):
        return _written([(text, 1.0)])
    texts = _TOKEN.findall(text)
    pairs = _pairs(texts)
    factors = {}  # of each bracket
    for opens, closes in pairs.items():
        behind = texts[closes + 1] if closes + 1 < len(texts) else ""
        if suffix := _SUFFIX.match(behind):
            texts[closes + 1] = behind[suffix.end() :]
        factors[opens] = _strength(suffix[0]) if suffix else 1.0

    weights, pieces, closing = [1.0], [], {*pairs.values()}
    for i, word in enumerate(texts):
        if i in factors:
            weights.append(_limited(weights[-1] * factors[i]))
        elif i in closing:
            weights.pop()
        elif word in ("(", ")", "\\(", "\\)"):
            pieces.append((word[-1], weights[-1]))
        else:
            pieces += [(part, _limited(weights[-1] * factor)) for part, factor in _words(word)]
    return _written(pieces)


def joins(text: str) -> str | None:
    """How InvokeAI's prompt joins others, such as "blend"; None: it is one."""
    found = _JOINS.search(text)
    return found[1] if found else None


def _braced(text: str, weight: float, opened: dict[str, int]) -> Pieces:
    """NovelAI's text between its numbers, with the weights of the brackets that are open."""
    for word in _BRACE.findall(text):
        if word in opened:
            opened[word] += 1
        elif word in _OPENS:
            opened[_OPENS[word]] = max(opened[_OPENS[word]] - 1, 0)
        else:
            power = max(min(opened["{"] - opened["["], 150), -150)
            yield word, weight * 1.05**power


def _words(text: str) -> Pieces:
    """The words of InvokeAI's text with their factors, and what stands between them."""
    for part in re.split(r"(\s+)", text):
        core = part.rstrip(",.;:")
        stem = core.rstrip("+" if core.endswith("+") else "-")
        if stem != core and stem[-1:].isalnum():
            yield stem, _strength(core[len(stem) :])
            yield part[len(core) :], 1.0
        else:
            yield part, 1.0


def _pairs(tokens: list[str]) -> dict[int, int]:
    """The place of the round bracket that closes each that opens, where both are there."""
    pairs, waiting = {}, []
    for i, token in enumerate(tokens):
        if token == "(":
            waiting.append(i)
        elif token == ")" and waiting:
            pairs[waiting.pop()] = i
    return pairs


def _strength(suffix: str) -> float:
    """The factor that InvokeAI's suffix states."""
    if suffix.strip("+-"):
        return _limited(float(suffix))
    return (1.1 if suffix.startswith("+") else 0.9) ** min(len(suffix), 70)


def _number(text: str) -> float | None:
    return _limited(float(text)) if re.fullmatch(rf"\s*{_NUMBER}\s*", text) else None


def _limited(weight: float) -> float:
    return min(max(weight, -LIMIT), LIMIT) if math.isfinite(weight) else LIMIT


def _written(pieces: Pieces, keep: str = "") -> str:
    """The pieces in A1111's grammar; neighbours of one weight stand in one bracket."""
    marks = re.compile("[" + re.escape("".join(c for c in "\\()[]{" if c not in keep)) + "]")
    joined: list[tuple[list[str], float]] = []
    for words, weight in pieces:
        weight = round(weight, 4)
        if not joined or joined[-1][1] != weight:
            joined.append(([], weight))
        joined[-1][0].append(words)

    texts = []
    for words, weight in joined:
        text = marks.sub(r"\\\g<0>", "".join(words))
        # A backslash before a letter says nothing, but makes no mark of the word
        text = re.sub(r"\b(BREAK|AND)\b", lambda match: f"{match[0][0]}\\{match[0][1:]}", text)
        if text.strip() and weight != 1:
            text = f"({text}:{weight:.4f}".rstrip("0").rstrip(".") + ")"
        texts.append(text)
    return "".join(texts)
