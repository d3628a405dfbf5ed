"""The recipe that a picture's file carries: read, with a word on what cannot be followed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sfumato.cli.terminal import warn
from sfumato.request import Request
from sfumato.request.embeddings import TI_HASHES
from sfumato.request.pictured import HASHES

if TYPE_CHECKING:
    from sfumato.pictures import Recipe

# What a recipe may say beyond the fields of a request without changing our picture.
HARMLESS = {
    *("RNG", "Version", "Model hash", "Hashes", "Lora hashes", "SDCPP"),
    *(TI_HASHES, *HASHES.values()),
    *("App", "Backend", "Operations", "Parser", "Pipeline", "User"),
    *("Guidance", "Raw prompt", "Raw negative prompt"),  # of other models, before its styles
}
# Names of our random numbers: A1111's, those of a GPU under A1111, of stable-diffusion.cpp.
OUR_NOISE = {"nv", "gpu", "cuda"}
LONG = 60  # characters of a value


def load_recipe(source: str) -> Recipe:
    """The recipe of a picture; warns of what in it changes the picture and is not used."""
    from sfumato import pictures

    recipe = pictures.load_recipe(Path(source))
    if recipe is None:
        raise ValueError(f"{source} carries no recipe")
    if unused := unfollowed(recipe):
        warn(f"not used from the recipe of {source}: {', '.join(unused)}")
    program = recipe.items.get("Version", "")
    noise = recipe.items.get("RNG", "CPU" if "ComfyUI" in program else "NV")
    if noise.casefold() not in OUR_NOISE:
        warn(f"{source} was made from other random numbers; the picture will differ")
    return recipe


def unfollowed(recipe: Recipe) -> list[str]:
    """What a recipe says that changes its picture and that no field can hold, with its value."""
    items = {key: text for key, text in Request.unread(recipe).items() if key not in HARMLESS}
    short = {key: text if len(text) <= LONG else f"{text[:LONG]}..." for key, text in items.items()}
    return [key if key == text else f"{key} {text}" for key, text in short.items()]
