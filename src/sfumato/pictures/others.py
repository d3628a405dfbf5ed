"""The recipes of programs whose form we do not read: whose they are."""

from __future__ import annotations

import re
from collections.abc import Mapping

# By program what is in one of its texts, written as NAME=TEXT of a PNG's chunk or an EXIF tag. The
# first that fits is the one: RuinedFooocus goes before Fooocus, and savers of graphs go last.
_JSON = r"\w+=\s*[{\[].*"
_MARKS = {
    "SwarmUI": rf'{_JSON}"sui_image_params"',
    "RuinedFooocus": rf"{_JSON}RuinedFooocus",
    "Fooocus": rf"fooocus_scheme=|{_JSON}[Ff]ooocus",
    "InvokeAI": r"(invokeai_\w+|sd-metadata|Dream)=",
    "NovelAI": r"(Software|Source)=NovelAI",
    "Midjourney": r"Description=.*Job ID:",
    "Easy Diffusion": r"negative[ _]prompt=",
    "Draw Things": r"XML:com\.adobe\.xmp=.*Draw Things",
    "Civitai": rf'{_JSON}"(resource-stack|extraMetadata)"',
    "ComfyUI": rf'(workflow|prompt)=\s*{{|\w+=(workflow|prompt):\s*{{|{_JSON}"class_type"',
    "another program": rf'{_JSON}"[\w ]{{0,40}}prompt[\w ]{{0,40}}"\s*:',
}
_MARKED = {name: re.compile(mark, re.S | re.I) for name, mark in _MARKS.items()}


def program_of(texts: Mapping[str, str]) -> str | None:
    """The program whose recipe is among the texts of a picture's file, by name; None: none is."""
    stated = [f"{name}={text}" for name, text in texts.items()]
    for program, mark in _MARKED.items():
        if any(mark.match(text) for text in stated):
            return program
    return None
