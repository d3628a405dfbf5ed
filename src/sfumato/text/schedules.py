"""Texts that change on the way: `[from:to:when]`, `[a|b]`, and prompts joined by AND.

A1111's grammar. `[from:to:when]` is `from` up to the step `when` and `to` after it; `when` is a
step, or with a point in it a part of all steps. `[to:when]` and `[from::when]` leave one side
empty. `[a|b]` is another text at each step, from the first to the last and over again. Whatever
else stands in brackets is left as it is. AND joins prompts whose directions are added up, each with
a weight: `a cat:1.2 AND a dog` (Composable Diffusion: Liu et al. 2022, arXiv 2206.01714).

Any text can be read, in time proportional to its length, and nothing recurses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from sfumato.text.emphasis import number

# A backslash and what follows, a bracket or a separator, or a run of anything else
_TOKEN = re.compile(r"\\.|[()\[\]:|]|[^\\()\[\]:|]++|\\", re.DOTALL)
_WHEN = re.compile(r"[+-]?(?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?")
_AND = re.compile(r"\bAND\b")
_PARTNERS = {")": "(", "]": "["}

Node = Any
"""A text, a list of nodes, `_Change` or `_Turns`."""


class _Change(NamedTuple):
    """`[from:to:when]`."""

    before: Node
    after: Node
    when: str

    def last(self, steps: int) -> int:
        """The last step of `before`; 0: there is none."""
        step = float(self.when) * (steps if "." in self.when else 1)
        return int(min(max(step, 0), steps))


class _Turns(NamedTuple):
    """`[a|b|...]`."""

    options: tuple[Node, ...]


class _Frame:
    """A bracket that is open: what it holds up to now."""

    def __init__(self, bracket: str) -> None:
        self.bracket = bracket
        self.fields: list[list[Node]] = [[]]
        self.separators: list[str] = []
        self.odd = False  # whether there is a bracket in it that closes nothing

    def node(self, end: str) -> Node:
        """What the brackets mean; `end` is empty where they never closed."""
        is_whole = self.bracket == "[" and end and self.separators and not self.odd
        if is_whole and (meaning := self._change() or self._turns()):
            return meaning
        parts: list[Node] = [self.bracket, self.fields[0]]
        for separator, field in zip(self.separators, self.fields[1:], strict=True):
            parts += [separator, field]
        return [*parts, end]

    def _change(self) -> _Change | None:
        *fields, when = self.fields
        text = "".join(when).strip() if all(isinstance(part, str) for part in when) else ""
        if self.separators[-1] != ":" or not _WHEN.fullmatch(text):
            return None
        before, after = self._at_colon(fields)
        return None if before is None else _Change(before, after, text)

    def _at_colon(self, fields: list[list[Node]]) -> tuple[Node | None, Node]:
        """Both sides, a "|" being text there; None for more than two of them."""
        sides: list[list[Node]] = [[fields[0]]]
        for separator, field in zip(self.separators[:-1], fields[1:], strict=True):
            if separator == ":":
                sides.append([field])
            else:
                sides[-1] += [separator, field]
        if len(sides) > 2:
            return None, ""
        return (sides[0], sides[1]) if len(sides) == 2 else ("", sides[0])

    def _turns(self) -> _Turns | None:
        return None if ":" in self.separators else _Turns(tuple(self.fields))


def scheduled(text: str, steps: int) -> list[tuple[int, str]]:
    """The texts that a text stands for, each with its last step, of 1 to ``steps``.

    Example:
        >>> scheduled("a [cat:dog:0.5]", 10)
        [(5, 'a cat'), (10, 'a dog')]
    """
    if "[" not in text:
        return [(steps, text)]
    tree = _parse(text)
    ends = {steps}
    for node in _walk(tree):
        if isinstance(node, _Change):
            ends.add(node.last(steps))
        elif isinstance(node, _Turns):
            ends.update(range(1, steps))
    return [(end, _at(tree, end, steps)) for end in sorted(ends - {0})]


def joined(text: str) -> list[tuple[str, float]]:
    """The prompts that AND joins, each with its weight; a text without AND has weight 1.

    Example:
        >>> joined("a cat:1.2 AND a dog")
        [('a cat', 1.2), ('a dog', 1.0)]
    """
    texts = _AND.split(text)
    if len(texts) == 1:
        return [(text, 1.0)]
    return [_weighted(part) for part in texts]


def _weighted(text: str) -> tuple[str, float]:
    words, colon, end = text.rpartition(":")
    weight = number(end) if colon else None
    return (text.strip(), 1.0) if weight is None else (words.strip(), weight)


def _parse(text: str) -> Node:
    """The tree of a text."""
    frames = [_Frame("")]
    for match in _TOKEN.finditer(text):
        token, top = match[0], frames[-1]
        if token in ("(", "["):
            frames.append(_Frame(token))
        elif token in _PARTNERS and top.bracket == _PARTNERS[token]:
            frames.pop()
            frames[-1].odd |= top.odd
            frames[-1].fields[-1].append(top.node(token))
        elif token in (":", "|") and top.bracket == "[":
            top.separators.append(token)
            top.fields.append([])
        else:
            top.odd |= token in _PARTNERS
            top.fields[-1].append(token)
    while len(frames) > 1:
        unclosed = frames.pop()
        frames[-1].fields[-1].append(unclosed.node(""))
    return frames[0].fields[0]


def _walk(tree: Node) -> Iterator[Node]:
    """Every node of a tree."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, _Change):
            waiting += [node.before, node.after]
        elif isinstance(node, _Turns):
            waiting += node.options
        elif isinstance(node, list):
            waiting += node


def _at(tree: Node, step: int, steps: int) -> str:
    """The text at a step."""
    texts, waiting = [], [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            texts.append(node)
        elif isinstance(node, _Change):
            waiting.append(node.before if step <= node.last(steps) else node.after)
        elif isinstance(node, _Turns):
            waiting.append(node.options[(step - 1) % len(node.options)])
        else:
            waiting += reversed(node)
    return "".join(texts)
