"""The recipes of other programs in forms of their own: whose they are, and what they say."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from sfumato.pictures.others import comfyui, flat, invokeai, values
from sfumato.pictures.recipe import Recipe

# By program what is in one of its texts, written as NAME=TEXT of a PNG's chunk or an EXIF tag. The
# first that fits is the one: RuinedFooocus goes before Fooocus, and savers of graphs go last.
_JSON = r"\w+=\s*[{\[].*"
_MARKS = {
    "SwarmUI": rf'{_JSON}"sui_image_params"',
    "RuinedFooocus": rf"{_JSON}RuinedFooocus",
    "Fooocus": rf"fooocus_scheme=|{_JSON}[Ff]ooocus",
    "InvokeAI": r"(invokeai_\w+|sd-metadata|Dream)=",
    "NovelAI": rf'(Software|Source)=NovelAI|{_JSON}"(Software|Source)":\s*"NovelAI',
    "Midjourney": r"Description=.*Job ID:",
    "Easy Diffusion": r"negative[ _]prompt=",
    "Draw Things": r"XML:com\.adobe\.xmp=.*Draw Things",
    "Civitai": rf'{_JSON}"(resource-stack|extraMetadata)"',
    "ComfyUI": rf'(workflow|prompt)=\s*{{|\w+=(workflow|prompt):\s*{{|{_JSON}"class_type"',
    "another program": rf'{_JSON}"[\w ]{{0,40}}prompt[\w ]{{0,40}}"\s*:',
}
_MARKED = {name: re.compile(mark, re.S | re.I) for name, mark in _MARKS.items()}
_READERS: dict[str, Callable[[Mapping[str, str]], Recipe]] = {
    "ComfyUI": comfyui.read,
    "Fooocus": flat.read_fooocus,
    "InvokeAI": invokeai.read,
    "NovelAI": flat.read_novelai,
    "SwarmUI": flat.read_swarmui,
}
# What programs that write A1111's text call otherwise.
_RENAMED = {
    "Fooocus": {"Scheduler": "Schedule type"},
    "SD.Next": {"Sampler sigma": "Schedule type", "CFG rescale": "Guidance rescale"},
}


def read_texts(texts: Mapping[str, str]) -> Recipe | None:
    """The recipe that another program left in the texts of a picture's file.

    It is in A1111's words and grammar. An item that is no setting of A1111 has the program's own
    name, "Version" the program's.

    Returns:
        None: no text is a recipe.

    Raises:
        ValueError: there is one that cannot be read; names its program.
    """
    program = program_of(texts)
    if program is None:
        return None
    why = ""
    if reader := _READERS.get(program):
        try:
            return reader(texts)
        except ValueError as error:
            why = f" ({values.short(str(error))})"
    raise ValueError(f"carries a recipe of {program}, which is not read{why}")


def renamed(recipe: Recipe) -> Recipe:
    """The recipe of a text like A1111's, with A1111's keys."""
    keys = _RENAMED.get(recipe.program or "", {})
    ours = {keys[key]: text for key, text in recipe.items.items() if key in keys}
    if not ours:
        return recipe
    others = {key: text for key, text in recipe.items.items() if key not in keys}
    return replace(recipe, items=ours | others)


def program_of(texts: Mapping[str, str]) -> str | None:
    """The program whose recipe is among the texts of a picture's file, by name; None: none is."""
    stated = [f"{name}={text}" for name, text in texts.items()]
    for program, mark in _MARKED.items():
        if any(mark.match(text) for text in stated):
            return program
    return None
