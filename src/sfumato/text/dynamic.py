"""Prompts that are drawn: `{a|b|c}`, `{2$$a|b|c}` and wildcards such as `__animals__`.

`{a|b}` is one of its options, and `{2::a|b}` is `a` twice as often. `{2$$a|b|c}` is two of them,
`{1-2$$a|b|c}` one or two, with a comma between them or what stands before a second `$$`. A wildcard
is a line of a list. Options and lines may hold all of this again. A backslash makes the next
character an ordinary one. It is the grammar of the extension "Dynamic Prompts" of A1111.

A seed decides what is drawn, in every process and version. Reading takes linear time.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_TOKEN = re.compile(r"\\.|[{}|]|__[\w./-]+?__|[^\\{}|_]++|[\\_]", re.DOTALL)
_COUNT = re.compile(r"\s*+([0-9]{1,9})(?:-([0-9]{1,9}))?\$\$(?:([^$]*+)\$\$)?")
_SHARE = re.compile(r"\s*+([0-9]{1,9}(?:\.[0-9]*+)?|\.[0-9]{1,9})::")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
DEPTH = 64  # wildcards within wildcards
LENGTH = 200_000  # characters that wildcards may make, and wildcards that may make them

Node = Any
"""A text, a list of nodes, `_Choice` or `_Wildcard`."""


class _Wildcard(NamedTuple):
    name: str


class _Choice(NamedTuple):
    """Some of a few options."""

    options: list[Node]
    shares: list[float]
    least: int
    most: int
    separator: str

    def drawn(self, dice: random.Random) -> list[Node]:
        """The options that are drawn, with the separator between them."""
        count = self.least + int(dice.random() * (self.most - self.least + 1))
        # Efraimidis and Spirakis 2006: the largest keys are a weighted draw without repetition
        keys = [
            math.log(1 - dice.random()) / share if share else -math.inf for share in self.shares
        ]
        order = sorted(range(len(keys)), key=keys.__getitem__, reverse=True)[:count]
        nodes = [node for i in order for node in (self.separator, self.options[i])]
        return nodes[1:]


def draw(template: str, seed: object, wildcards: Mapping[str, Sequence[str]] | None = None) -> str:
    """Draw a prompt. A text without anything to draw comes back as it is, and so does the result.

    Args:
        template: any text.
        seed: anything whose text decides what is drawn.
        wildcards: the lines of each list, by name; without any, `__name__` is ordinary text.

    Raises:
        ValueError: there is no such list, or lists name one another without an end. Its words say
            what wildcards must do.

    Example:
        >>> draw("a {red|green} apple", seed=3) in ("a red apple", "a green apple")
        True
    """
    lists = wildcards or {}
    if "{" not in template and not lists:
        return template
    tree, is_dynamic = _parse(template, bool(lists))
    if not is_dynamic:
        return template

    dice = random.Random(str(seed))
    texts: list[str] = []
    room = LENGTH + len(template)
    waiting: list[tuple[Node, int]] = [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        if isinstance(node, str):
            texts.append(node)
            room -= len(node)
        elif isinstance(node, _Choice):
            waiting += [(part, depth) for part in reversed(node.drawn(dice))]
        elif isinstance(node, _Wildcard):
            line = _line(lists, node.name, dice)
            room -= 1
            waiting.append((_parse(line, True)[0], depth + 1))
        else:
            waiting += [(part, depth) for part in reversed(node)]
        if depth > DEPTH or room < 0:
            raise ValueError("not name one another without an end")
    # A brace that is left has no partner, and shall find none when the text is drawn again.
    return _BRACE.sub(lambda m: m[0] if len(m[0]) > 1 else f"\\{m[0]}", "".join(texts))


def _line(lists: Mapping[str, Sequence[str]], name: str, dice: random.Random) -> str:
    if not (lines := lists.get(name)):
        raise ValueError(f"have a list called {name}")
    return lines[int(dice.random() * len(lines))]


def _parse(text: str, wildcards: bool) -> tuple[Node, bool]:
    """The tree of a text, and whether there is anything to draw in it."""
    frames: list[list[list[Node]]] = [[[]]]  # of each brace that is open, its options
    is_dynamic = False
    for token in _TOKEN.findall(text):
        if token == "{":
            frames.append([[]])
        elif token == "}" and len(frames) > 1:
            is_dynamic = True
            frames[-2][-1].append(_choice(frames.pop()))
        elif token == "|" and len(frames) > 1:
            frames[-1].append([])
        elif wildcards and token.startswith("__"):
            is_dynamic = True
            frames[-1][-1].append(_Wildcard(token[2:-2]))
        else:
            frames[-1][-1].append(token)
    while len(frames) > 1:
        first, *others = frames.pop()
        frames[-1][-1] += ["{", first, *(part for option in others for part in ("|", option))]
    return frames[0][0], is_dynamic


def _choice(options: list[list[Node]]) -> _Choice:
    """The choice of these options, the first of which may say how many are drawn."""
    least = most = 1
    separator = ", "
    if match := _COUNT.match(_beginning(options[0])):
        least = most = int(match[1])
        most = int(match[2]) if match[2] else most
        separator = ", " if match[3] is None else match[3]
        options[0] = _without(options[0], match.end())
    shares = []
    for i, option in enumerate(options):
        match = _SHARE.match(_beginning(option))
        shares.append(float(match[1]) if match else 1.0)
        if match:
            options[i] = _without(option, match.end())
    least, most = (min(bound, len(options)) for bound in sorted((least, most)))
    return _Choice(list(options), shares, least, most, separator)


def _beginning(option: list[Node]) -> str:
    """The text before the first node that is none."""
    texts: list[str] = []
    for node in option:
        if not isinstance(node, str):
            break
        texts.append(node)
    return "".join(texts)


def _without(option: list[Node], count: int) -> list[Node]:
    """The option without its first ``count`` characters."""
    text = _beginning(option)
    texts = 0
    while texts < len(option) and isinstance(option[texts], str):
        texts += 1
    return [text[count:], *option[texts:]]
