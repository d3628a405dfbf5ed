"""The items of a recipe as any program writes them: which of them state a field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product

from sfumato.request import control
from sfumato.request.fields import Spec
from sfumato.request.room_kinds import Name

SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
NO_CHOICE = ("-1", "automatic", "default", "none")  # as programs write what was left to them
LEFT_OPEN = {*product(("Seed", "Sampler", "Schedule type", "Clip skip"), NO_CHOICE)}


def stated(known: Mapping[str, Spec], items: Mapping[str, str]) -> dict[str, str]:
    """The texts that items state of the known fields, by name.

    A sampler or schedule that we do not have is left open. The denoising strength of A1111's second
    pass ("Hires ...") is not the request's.
    """
    said = {key: text for key, text in items.items() if (key, text.casefold()) not in LEFT_OPEN}
    said = {key: text for key, text in said.items() if key not in _unknown(known, items)}
    texts = {name: said[spec.key] for name, spec in known.items() if spec.key in said}
    if size := SIZE.fullmatch(items.get("Size", "")):
        texts |= {"width": size[1], "height": size[2]}
    texts |= control.stated(items)
    if any(key.startswith("Hires") for key in items):
        texts.pop("strength", None)
    return texts


def unread(known: Mapping[str, Spec], items: Mapping[str, str]) -> dict[str, str]:
    """The items that no known field reads, and names of samplers and schedules not known here."""
    keys = {spec.key for spec in known.values()} - _unknown(known, items)
    keys |= {"Size"} if SIZE.fullmatch(items.get("Size", "")) else set()
    keys |= {key for key in items if control.ITEM.fullmatch(key)}
    return {key: text for key, text in items.items() if key not in keys}


def _unknown(known: Mapping[str, Spec], items: Mapping[str, str]) -> set[str]:
    """The keys of the items that name a sampler or a schedule that we do not have."""
    names = {spec.key: spec.kind for spec in known.values() if isinstance(spec.kind, Name)}
    return {
        key
        for key in names.keys() & items.keys()
        if (text := items[key])
        and (key, text.casefold()) not in LEFT_OPEN
        and not names[key].knows(text)
    }
