"""A picture's recipe as text: the "parameters" format that A1111 writes and many programs read.

    a red apple                                            <- the prompt, may span lines
    Negative prompt: blurry                                <- may span lines, left out when empty
    Steps: 25, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 7, Size: 512x512

Its readers strip every line, start the negative prompt at any line that begins with "Negative
prompt:", and take the last line for the parameters. A prompt that would come back changed (spaces
at its ends, say) stands in the last line once more, as a JSON string under "Exact prompt" (and
"Exact negative prompt"), which `read_text` believes. And a prompt that would forge another field in
an ordinary reader is shown to it as a JSON string, on one line, too.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

NEGATIVE = "Negative prompt:"
EXACT = ("Exact prompt", "Exact negative prompt")
VERSION = "Version"

# The fields that are items of the last line: name there, attribute of `Recipe`, type.
_FIELDS = (
    ("Steps", "steps", int),
    ("Sampler", "sampler", str),
    ("Schedule type", "schedule", str),
    ("CFG scale", "guidance", float),
    ("Seed", "seed", int),
    ("Size", "size", None),
    ("Model hash", "model_hash", str),
    ("Model", "model", str),
    ("Denoising strength", "strength", float),
    (VERSION, "version", str),
)
_RESERVED = {*EXACT, *(name for name, _, _ in _FIELDS)}

# The order of the last line. Items that are not listed come before the version.
_ORDER = (
    *("Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", "Model hash", "Model"),
    *("VAE hash", "VAE", "Variation seed", "Variation seed strength", "Seed resize from"),
    *("Denoising strength", "Clip skip", "ENSD", "RNG", "Tiling"),
    *("Hires upscale", "Hires steps", "Hires upscaler", "Lora hashes"),
)

# Keys are of 100 characters at most and never tried shorter (`}+`), so reading takes linear time.
_KEY = r"\w[\w \-/]{1,99}+"
_ITEM = re.compile(rf'({_KEY})(?::\s*("(?:\\.|[^\\"])*"|[^,]*))?(?:,|$)')
_SIZE = re.compile(r"(\d+)x(\d+)")
_SURROGATE = re.compile("[\ud800-\udfff]")
_NO_TEXT = re.compile("[\0\ud800-\udfff]")  # what a file's text cannot hold


@dataclass(frozen=True)
class Recipe:
    """How a picture was made. `None` is what the file does not say.

    Attributes:
        prompt, negative_prompt: any text.
        steps: number of denoising steps.
        sampler, schedule: names as A1111 shows them ("DPM++ 2M", "Karras").
        guidance: scale of classifier-free guidance.
        seed: the picture's own seed, also when it was one of a batch.
        width, height: size in pixels, both or neither.
        model, model_hash: name of the checkpoint and the first ten digits of its SHA-256.
        strength: how much of a given picture was denoised, from 0 to 1.
        version: the program and version that made the picture.
        extra: every other item, key -> text, such as {"RNG": "NV"}.

    Raises:
        ValueError: a number is not finite, the size is incomplete, or a key of `extra` is not made
            of 2 to 100 word characters, spaces, "-" and "/", or is the name of another field.
    """

    prompt: str
    negative_prompt: str = ""
    steps: int | None = None
    sampler: str | None = None
    schedule: str | None = None
    guidance: float | None = None
    seed: int | None = None
    width: int | None = None
    height: int | None = None
    model: str | None = None
    model_hash: str | None = None
    strength: float | None = None
    version: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name in ("guidance", "strength"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"`{name}` must be finite. Received: {name}={value}")
        if (self.width is None) != (self.height is None):
            size = f"width={self.width}, height={self.height}"
            raise ValueError(f"`width` and `height` must be given together. Received: {size}")
        for key in self.extra:
            if not _is_key(key) or key in _RESERVED:
                raise ValueError(f"`extra` must not have this key. Received: {key!r}")

    @property
    def size(self) -> str | None:
        """The size as text, such as "512x768" (width first)."""
        return None if self.width is None else f"{self.width}x{self.height}"


def write_text(recipe: Recipe) -> str:
    """The recipe as text; `read_text` gives it back exactly, whatever the prompts contain.

    (Two surrogates in a row, which are no text, come back as the character that they stand for.)

    Example:
        >>> print(write_text(Recipe("a red apple", steps=25, guidance=7.5, seed=7)))
        a red apple
        Steps: 25, CFG scale: 7.5, Seed: 7
    """
    items = _items(recipe)
    text = _layout(recipe.prompt, recipe.negative_prompt, items)
    if not _NO_TEXT.search(text) and read_text(text) == recipe:
        return text
    exact = zip(EXACT, (recipe.prompt, recipe.negative_prompt), strict=True)
    items = [*items, *(f"{name}: {_json(prompt)}" for name, prompt in exact)]
    items.sort(key=lambda item: item.startswith(f"{VERSION}:"))
    return _layout(_shown(recipe.prompt), _shown(recipe.negative_prompt), items)


def read_text(text: str) -> Recipe:
    """The recipe that a "parameters" text states. It reads any text and raises nothing.

    The last line holds the parameters if three or more `key: value` items are in it; otherwise all
    is prompt. A number that is none counts as not stated. Reading is what A1111 does, except that
    nothing is filled in where the text is silent.
    """
    *lines, last = text.strip().split("\n")
    found = [(key.strip(), value) for key, value in map(re.Match.groups, _ITEM.finditer(last))]
    items = {key: _read_value(key if value is None else value) for key, value in found}
    if sum(value is not None for _, value in found) < 3 and EXACT[0] not in items:
        lines, items = [*lines, last], {}
    prompts: tuple[list[str], list[str]] = [], []
    negative = False
    for line in map(str.strip, lines):
        begins = line.startswith(NEGATIVE)
        negative = negative or begins
        prompts[negative].append(line.removeprefix(NEGATIVE).strip() if begins else line)
    prompt, negative_prompt = map("\n".join, prompts)
    prompt = items.pop(EXACT[0], prompt)
    negative_prompt = items.pop(EXACT[1], negative_prompt)
    fields = _read_fields(items)
    extra = {key: value for key, value in items.items() if _is_key(key) and key not in _RESERVED}
    return Recipe(prompt, negative_prompt, extra=extra, **fields)


def _is_key(key: str) -> bool:
    return re.fullmatch(_KEY, key) is not None and key == key.strip()


def _items(recipe: Recipe) -> list[str]:
    """The items of the last line in their order; a value that equals its key is left out."""
    values = dict(recipe.extra)
    for name, attribute, kind in _FIELDS:
        if (value := getattr(recipe, attribute)) is not None:
            values[name] = repr(kind(value)).removesuffix(".0") if kind in (int, float) else value
    rank = {key: i for i, key in enumerate(_ORDER)} | {VERSION: len(_ORDER) + 1}
    keys = sorted(values, key=lambda key: rank.get(key, len(_ORDER)))
    return [key if key == values[key] else f"{key}: {_write_value(values[key])}" for key in keys]


def _layout(prompt: str, negative_prompt: str, items: list[str]) -> str:
    lines = [prompt]
    if negative_prompt:
        lines.append(f"{NEGATIVE} {negative_prompt}")
    if items:
        lines.append(", ".join(items))
    return "\n".join(lines)


def _shown(prompt: str) -> str:
    """The prompt as ordinary readers shall see it: as it is unless it would forge a field."""
    forges = any(line.strip().startswith(NEGATIVE) for line in prompt.split("\n"))
    return _json(prompt) if forges or _NO_TEXT.search(prompt) else prompt


def _write_value(value: str) -> str:
    clear = value and value == value.strip() and value[0] != '"' and not re.search("[,:\n]", value)
    return value if clear and not _NO_TEXT.search(value) else _json(value)


def _json(text: str) -> str:
    """A JSON string without lone surrogates, otherwise as readable as can be."""
    quoted = json.dumps(text, ensure_ascii=False)
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted)


def _read_value(value: str) -> str:
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] == '"':
        with suppress(ValueError):
            return str(json.loads(value))
    return value


def _read_fields(items: dict[str, str]) -> dict[str, Any]:
    """The items that are fields of a recipe, as keyword arguments."""
    fields: dict[str, Any] = {}
    for name, attribute, kind in _FIELDS:
        if name not in items:
            continue
        with suppress(ValueError):  # a number that is none, or has thousands of digits
            if kind is None:
                if size := _SIZE.fullmatch(items[name]):
                    width, height = map(int, size.groups())
                    fields |= {"width": width, "height": height}
            elif kind is not float or math.isfinite(float(items[name])):
                fields[attribute] = kind(items[name])
    return fields
