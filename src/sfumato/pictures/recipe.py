"""A picture's recipe as text: the "parameters" format that A1111 writes and many programs read.

    a red apple                                            <- the prompt, may span lines
    Negative prompt: blurry                                <- may span lines, left out when empty
    Steps: 25, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 7, Size: 512x512

This module knows the format alone; `Request` knows what the items mean.

Readers of the format strip every line. They start the negative prompt at any line that begins with
"Negative prompt:", and take the last line for the items. Some prompts would come back changed, such
as one with spaces at its ends. Such a prompt stands in the last line once more: as a JSON string
under "Exact prompt" or "Exact negative prompt", which `read_text` believes. A prompt that would
forge another field is shown to ordinary readers as a JSON string on one line, too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

NEGATIVE = "Negative prompt:"
EXACT = ("Exact prompt", "Exact negative prompt")

# The order of the last line. Items that are not listed come before the version.
VERSION = "Version"
_ORDER = (
    *("Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", "Model hash", "Model"),
    *("VAE hash", "VAE", "Variation seed", "Variation seed strength", "Seed resize from"),
    *("Denoising strength", "Clip skip", "ENSD", "RNG", "Tiling"),
    *("Hires upscale", "Hires steps", "Hires upscaler", "Lora hashes"),
)
_RANK = {key: i for i, key in enumerate(_ORDER)} | {VERSION: len(_ORDER) + 1}

# The programs that write this text, or whose recipes we put into it, and how their version begins.
_NAMED = ("Sfumato", "ComfyUI", "Fooocus", "InvokeAI", "NovelAI", "SD.Next", "SwarmUI")
_PROGRAMS = {name: re.escape(name) for name in (*_NAMED, "stable-diffusion.cpp")}
_PROGRAMS |= {"Forge": r"f\d|forge|neo|classic", "A1111": r"v?1\.\d"}

# Keys are of 100 characters at most and never tried shorter (`}+`), so reading takes linear time.
_KEY = r"\w[\w \-/]{1,99}+"
_ITEM = re.compile(rf'({_KEY})(?::\s*("(?:\\.|[^\\"])*"|[^,]*))?(?:,|$)')
_ENDS = re.compile(r"\s*(?:,|$)")  # of an item
_DOCUMENT = re.compile(r'\{\s*"')  # the beginning of an object in JSON
_SURROGATE = re.compile("[\ud800-\udfff]")
_NO_TEXT = re.compile("[\0\ud800-\udfff]")  # what a file's text cannot hold
_JSON = json.JSONDecoder()
_TRIES = 50  # to read JSON: an error takes linear time, as it counts the lines before it


@dataclass(frozen=True)
class Recipe:
    """The making of a picture, as text.

    Attributes:
        prompt, negative_prompt: any text.
        items: the items of the last line by key, such as {"Steps": "25", "RNG": "NV"}.

    Raises:
        ValueError: a key is not made of 2 to 100 word characters, spaces, "-" and "/", is one of
            `EXACT`, or its value is no text.
    """

    prompt: str
    negative_prompt: str = ""
    items: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for key, value in self.items.items():
            if not _is_key(key):
                raise ValueError(f"`items` must not have this key. Received: {key!r}")
            if not isinstance(value, str):
                raise ValueError(f"`items` must be text by key. Received: {key!r}: {value!r}")

    @property
    def program(self) -> str | None:
        """The program that made the picture, by the version that it wrote; None: not known."""
        stated = f"{self.items.get('App', '')} {self.items.get(VERSION, '')}".strip()
        return next((name for name, mark in _PROGRAMS.items() if re.match(mark, stated)), None)


def write_text(recipe: Recipe) -> str:
    """Write a recipe as text; `read_text` gives it back exactly, whatever the prompts contain.

    (Two surrogates in a row, which are no text, come back as the character that they stand for.)

    Example:
        >>> items = {"Seed": "7", "Steps": "25", "CFG scale": "7.5"}
        >>> print(write_text(Recipe("a red apple", items=items)))
        a red apple
        Steps: 25, CFG scale: 7.5, Seed: 7
    """
    keys = sorted(recipe.items, key=_rank)
    items = [_written(key, recipe.items[key]) for key in keys]
    text = _layout(recipe.prompt, recipe.negative_prompt, items)
    if not _NO_TEXT.search(text) and read_text(text) == recipe:
        return text

    at = len(items) - (VERSION in recipe.items)
    prompts = (recipe.prompt, recipe.negative_prompt)
    items[at:at] = [f"{key}: {_json(prompt)}" for key, prompt in zip(EXACT, prompts, strict=True)]
    return _layout(_shown(recipe.prompt), _shown(recipe.negative_prompt), items)


def read_text(text: str) -> Recipe | None:
    """Read the recipe that a "parameters" text states: any text, without an error.

    The last line holds the items if there are three or more `key: value` in it; otherwise all is
    prompt. Reading is what A1111 does, except that nothing is filled in where the text is silent,
    and that a value which is JSON is not cut at its commas.

    Returns:
        The recipe; None if the text is blank or is JSON, another program's form.
    """
    text = text.strip("\0 ").strip()
    if not text or _is_json(text):
        return None
    *lines, last = text.split("\n")
    found = [*_items(last)]
    items = {key: _read_value(key if value is None else value) for key, value in found}
    if sum(value is not None for _, value in found) < 3 and EXACT[0] not in items:
        if _DOCUMENT.match(text):
            return None  # JSON that was cut off
        lines, items = [*lines, last], {}

    prompts: tuple[list[str], list[str]] = [], []
    is_negative = False
    for line in map(str.strip, lines):
        begins = line.startswith(NEGATIVE)
        is_negative = is_negative or begins
        prompts[is_negative].append(line.removeprefix(NEGATIVE).strip() if begins else line)
    prompt, negative_prompt = (
        items.pop(key, "\n".join(shown)) for key, shown in zip(EXACT, prompts, strict=True)
    )
    return Recipe(prompt, negative_prompt, {k: v for k, v in items.items() if _is_key(k)})


def _is_json(text: str) -> bool:
    """Whether a text is an object or a list of JSON."""
    try:
        return text[0] in "{[" and isinstance(json.loads(text), (dict, list))
    except (ValueError, RecursionError):
        return False


def _items(line: str) -> Iterator[tuple[str, str | None]]:
    """The items of a line: key and value as they stand there; None: there is only a key."""
    at, tries = 0, _TRIES
    while found := _ITEM.search(line, at):
        key, value = found.groups()
        at = found.end()
        if value and value[0] in "{[" and tries:
            begin, tries = found.start(2), tries - 1
            with suppress(ValueError, RecursionError):
                _, end = _JSON.raw_decode(line, begin)
                if ends := _ENDS.match(line, end):
                    value, at, tries = line[begin:end], ends.end(), tries + 1
        yield key.strip(), value


def _is_key(key: str) -> bool:
    return re.fullmatch(_KEY, key) is not None and key == key.strip() and key not in EXACT


def _rank(key: str) -> int:
    return _RANK.get(key, len(_ORDER))


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


def _written(key: str, value: str) -> str:
    """One item; a value that equals its key is left out."""
    if key == value:
        return key
    clear = value and value == value.strip() and value[0] != '"' and not re.search("[,:\n]", value)
    return f"{key}: {value if clear and not _NO_TEXT.search(value) else _json(value)}"


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
