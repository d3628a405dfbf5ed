"""The items of a recipe as any program writes them: which of them state a field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product

from sfumato.request import control, image_prompts
from sfumato.request.fields import Spec
from sfumato.request.room_kinds import Autoencoder, Name, Upscaler

SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
NO_CHOICE = ("-1", "automatic", "default", "none")  # as programs write what was left to them
LEFT_OPEN = {
    *product(("Seed", "Sampler", "Schedule type", "Clip skip", "VAE", "Refiner"), NO_CHOICE)
}


def stated(known: Mapping[str, Spec], items: Mapping[str, str]) -> dict[str, str]:
    """The texts that items state of the known fields, by name.

    A sampler, a schedule, an upscaler, an autoencoder or a refiner that is not here is left open.
    The denoising strength is that of a second pass ("Hires ...") where there is one. A pass to a
    size ("Hires resize") is not read.
    """
    said = {key: text for key, text in items.items() if (key, text.casefold()) not in LEFT_OPEN}
    said = {key: text for key, text in said.items() if key not in _unknown(known, items)}
    texts = {name: said[spec.key] for name, spec in known.items() if spec.key in said}
    if size := SIZE.fullmatch(items.get("Size", "")):
        texts |= {"width": size[1], "height": size[2]}
    texts |= control.stated(items) | image_prompts.stated(items)
    if any(key.startswith("Hires") for key in items):
        texts.pop("strength", None)
    if "upscale" not in texts:
        texts = {name: text for name, text in texts.items() if not name.startswith("upscale")}
    if "refiner" not in texts:
        texts.pop("refiner_switch", None)
    return texts


def unread(known: Mapping[str, Spec], items: Mapping[str, str]) -> dict[str, str]:
    """The items that no known field reads, and names that are not known here."""
    keys = {spec.key for spec in known.values()} - _unknown(known, items)
    keys |= {"Size"} if SIZE.fullmatch(items.get("Size", "")) else set()
    patterns = (control.ITEM, image_prompts.ITEM)
    keys |= {key for key in items if any(each.fullmatch(key) for each in patterns)}
    return {key: text for key, text in items.items() if key not in keys}


def _unknown(known: Mapping[str, Spec], items: Mapping[str, str]) -> set[str]:
    """The keys of the items that name something not known here, such as another sampler."""
    kinds = ((spec.key, spec.kind) for spec in known.values())
    names = {k: kind for k, kind in kinds if isinstance(kind, Autoencoder | Name | Upscaler)}
    return {
        key
        for key in names.keys() & items.keys()
        if (text := items[key])
        and (key, text.casefold()) not in LEFT_OPEN
        and not names[key].knows(text)
    }
