"""The items of a recipe as any program writes them: which of them state a field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product

from sfumato.request.fields import Spec

SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
NO_CHOICE = ("-1", "automatic", "default", "none")  # as programs write what was left to them
LEFT_OPEN = {*product(("Seed", "Sampler", "Schedule type", "Clip skip", "VAE"), NO_CHOICE)}


def stated(known: Mapping[str, Spec], items: Mapping[str, str]) -> dict[str, str]:
    """The texts that items state of the known fields, by name.

    The denoising strength of A1111's second pass ("Hires ...") is not the request's.
    """
    said = {key: text for key, text in items.items() if (key, text.casefold()) not in LEFT_OPEN}
    texts = {name: said[spec.key] for name, spec in known.items() if spec.key in said}
    if size := SIZE.fullmatch(items.get("Size", "")):
        texts |= {"width": size[1], "height": size[2]}
    if any(key.startswith("Hires") for key in items):
        texts.pop("strength", None)
    return texts


def unread(known: Mapping[str, Spec], items: Mapping[str, str]) -> dict[str, str]:
    """The items that no known field reads."""
    keys = {spec.key for spec in known.values()}
    keys |= {"Size"} if SIZE.fullmatch(items.get("Size", "")) else set()
    return {key: text for key, text in items.items() if key not in keys}
