"""Values of a stranger's JSON, as the items of a recipe.

Any value of any type may stand anywhere. None is trusted, and none is an error here: what a field
cannot be is found where the request is made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from sfumato._numbers import as_number
from sfumato.pictures.recipe import EXACT, Recipe

LARGEST = 16_000_000  # characters of JSON: a graph with pictures in it has some millions
MANY = 40  # items that are not followed
LONG = 100  # characters of one of them

_MAY_BE_0 = ("Seed", "CFG scale")  # everything else is left alone where it is 0
_WEIGHT = re.compile(r"(?<!\\)\(")  # in A1111's grammar


def from_json(text: str) -> dict[str, Any]:
    """The object that a text states; ValueError if it is none."""
    if len(text) > LARGEST:
        raise ValueError(f"JSON must have at most {LARGEST} characters. Received: {len(text)}")
    try:
        value = json.loads(text.strip("\0 "))
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError(f"JSON must be an object. Received: {type(value).__name__}")
    return value


def object_in(texts: Mapping[str, str], name: str) -> dict[str, Any]:
    """The object that has a member of this name, among a picture's texts; ValueError: none has."""
    for text in texts.values():
        with suppress(ValueError):
            if f'"{name}"' in text and name in (found := from_json(text)):
                return found
    raise ValueError(f"no object has a member {name!r}")


def part(value: Any, name: str) -> dict[str, Any]:
    """The object of a name in an object; empty if there is none."""
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def text_of(value: Any) -> str:
    """A value that is text; empty if it is none."""
    return value if isinstance(value, str) else ""


def written(value: Any) -> str:
    """A value as the text of an item; empty where it says nothing. 20.0 is 20, also as text."""
    if value is None or value is False or value == "" or value == [] or value == {}:
        return ""
    if isinstance(value, float):
        value = repr(value)
    if isinstance(value, str):
        return re.sub(r"^(-?\d{1,20})\.0{1,20}$", r"\1", value.strip())
    try:
        return str(value) if isinstance(value, (bool, int)) else json.dumps(value)
    except (RecursionError, ValueError):
        return "..."


def name_of(value: Any) -> str:
    """The name of a model or a file, which stands as text or in an object; of a path the end."""
    if isinstance(value, dict):
        names = (value.get(key) for key in ("model_name", "name", "image_name", "model"))
        value = next((name for name in names if isinstance(name, str)), "")
    return re.split(r"[\\/]", text_of(value).strip())[-1]


def listed(value: Any) -> list[Any]:
    """A list, which may be written as text with commas."""
    if isinstance(value, str):
        return [text.strip() for text in value.split(",") if text.strip()]
    return value if isinstance(value, list) else []


def loras(named: Collection[tuple[Any, Any]]) -> dict[str, str]:
    """The item for LoRAs, each a name with its weight."""
    texts = [f"{name_of(name)}:{written(weight) or 1}" for name, weight in named if name_of(name)]
    return {"Loras": "|".join(texts)} if texts else {}


def size(width: Any, height: Any) -> dict[str, str]:
    """The item for a size."""
    sides = (written(width), written(height))
    return {"Size": "x".join(sides)} if all(sides) else {}


def items(
    said: Mapping[str, Any], keys: Mapping[str, str], unused: Collection[str]
) -> dict[str, str]:
    """The items that a program's values state; those that are no setting of ours by their name.

    Args:
        keys: the key of the item for each name that is a setting.
        unused: names of what does not change a picture, or is read by itself.
    """
    known: dict[str, str] = {}
    others: dict[str, str] = {}
    for name, value in said.items():
        text = "" if name in unused else written(value)
        if name in keys:
            known[keys[name]] = text if text != "0" or keys[name] in _MAY_BE_0 else ""
        elif text not in ("", "0", "0.0") and len(others) < MANY:
            others[_key(name)] = short(text)
    others.pop("", None)
    return known | {key: text for key, text in others.items() if key not in known}


def recipe(
    prompts: list[str], items: dict[str, str], program: str, interpolates: bool = False
) -> Recipe:
    """The recipe of these texts; ValueError if they state neither words nor steps.

    Args:
        prompts: the prompt and the negative prompt.
        items: those without a text are left out.
        program: its name, and its version if that is known.
        interpolates: weights act as in ComfyUI.
    """
    prompt, negative_prompt = prompts
    items = {key: text for key, text in items.items() if text}
    if not prompt and "Steps" not in items:
        raise ValueError("there is neither a prompt nor a number of steps")
    if interpolates and any(map(_WEIGHT.search, prompts)):
        items["Emphasis"] = "Comfyui"
    return Recipe(prompt, negative_prompt, items | {"Version": short(program.strip())})


def _key(name: str) -> str:
    """A name as the key of an item; empty if it cannot be one."""
    key = re.sub(r"[^\w \-/]+", " ", name[:LONG].replace("_", " ")).strip(" -/")
    return key if len(key) > 1 and key not in EXACT else ""


def short(text: str) -> str:
    """A text of at most `LONG` characters."""
    return text if len(text) <= LONG else f"{text[: LONG - 4]} ..."


def number(text: str) -> float | None:
    """The finite number that a text states; None if it states none."""
    with suppress(ValueError):
        return as_number(float(text))
    return None
