"""The table of models."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from sfumato.checkpoints import open_model
from sfumato.diffusion import find_sampler, find_schedule
from sfumato.presets import PRESETS, find

LIGHTNING = ("sdxl-lightning", *(f"sdxl-lightning-{n}step" for n in (1, 2, 8)))
NAMES = (
    *("mini", "mini-turbo", "sd1.4", "sd1.5", "sd2.1-base", "sd2.1", "sdxl-base", "ssd-1b"),
    *("vega", "bk-sdm-tiny", "sd1.5-inpainting", "sdxl-inpainting", "sdxl-refiner"),
    *("instruct-pix2pix", "sd-turbo", "sdxl-turbo", *LIGHTNING, "hyper-sdxl", "hyper-sdxl-1step"),
    *("hyper-sd1.5", "hyper-sd1.5-1step", "lcm-sdxl", "lcm-sd1.5", "lcm-dreamshaper"),
    *("tcd-sdxl", "sdxs"),
)
UNPINNED = (
    *("vega", "bk-sdm-tiny", "sd1.5-inpainting", "sdxl-inpainting", "sdxl-refiner"),
    *("instruct-pix2pix", "lcm-dreamshaper", *LIGHTNING),
)


def test_every_model_that_is_promised_is_there():
    assert tuple(PRESETS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_rows(name):
    preset = PRESETS[name]
    assert preset.size % 64 == 0
    assert preset.steps >= 1
    assert find_sampler(preset.sampler)
    assert preset.schedule is None or find_schedule(preset.schedule)
    assert all(file.endswith((".safetensors", ".json", ".txt")) for file in preset.files)
    if preset.repository:
        assert re.fullmatch(r"[0-9a-f]{40}", preset.revision) or name in UNPINNED
        assert preset.folder is None
    else:
        assert preset.folder == Path(find.__code__.co_filename).parent / name


def test_the_distilled_model_shares_all_but_its_denoiser():
    mini, turbo = (open_model(name).checkpoint for name in ("mini", "mini-turbo"))
    assert turbo.parts.keys() == mini.parts.keys()
    for part, tensors in mini.parts.items():
        same = all(np.array_equal(tensors[key], turbo.parts[part][key]) for key in tensors)
        assert same == (part != "unet")
    assert PRESETS["mini-turbo"].folder.name == "mini-turbo"


def test_names_aliases_and_repositories_lead_to_one_model():
    names = [n.lower() for preset in PRESETS.values() for n in (preset.name, *preset.aliases)]
    places = {p.repository.lower() for p in PRESETS.values() if p.repository}  # some have several
    words = [*names, *places]
    assert len(words) == len(set(words))
    for word in words:
        assert find(word.upper()) is find(word)
    assert find("ByteDance/SDXL-Lightning") is PRESETS["sdxl-lightning"]
    assert find("SDXL") is PRESETS["sdxl-base"]
    assert find("nothing") is None
    assert find("") is None
