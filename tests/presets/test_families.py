"""The table of families."""

from __future__ import annotations

import numpy as np
import pytest

from sfumato.networks.configs import UNetConfig
from sfumato.pictures.preview import latents_to_rgb
from sfumato.presets import PRESETS
from sfumato.presets.families import FAMILIES, find_family

NAMES = [family.name for family in FAMILIES]


def test_every_family_is_found_by_its_own_row():
    assert NAMES == ["1.x", "2.x", "XL", "XL refiner"]
    for family in FAMILIES:
        assert find_family(family.context_width, family.size_embedding > 0) is family


@pytest.mark.parametrize(("width", "sizes", "name"), [(0, False, "1.x"), (96, True, "XL")])
def test_other_widths_belong_to_the_first_of_their_kind(width, sizes, name):
    assert find_family(width, sizes).name == name


def test_only_the_first_family_may_read_any_layer():
    # A1111 ignores clip skip for the others, whose layer is part of the model.
    assert [family.name for family in FAMILIES if family.reads_any_layer] == ["1.x"]
    assert [family.freeu[2:] for family in FAMILIES] == [
        *((1.5, 1.6), (1.4, 1.6), (1.3, 1.4), (1.3, 1.4))
    ]


def test_heads_as_published():
    one, two, xl, refiner = FAMILIES
    channels = UNetConfig().channels
    assert one.heads(channels) == (8, 8, 8, 8)
    assert two.heads(channels) == (5, 10, 20, 20)
    assert xl.heads(channels[:3]) == (5, 10, 20)
    assert xl.heads((32,)) == (1,)
    assert refiner.heads((384, 768, 1536, 1536)) == (6, 12, 24, 24)
    assert find_family(0, True, refines=True) is refiner


@pytest.mark.parametrize("row", FAMILIES, ids=NAMES)
def test_preview_factors_give_colours(row):
    factors = np.array(row.preview_factors)
    assert factors.shape == (5, 3)
    grey = latents_to_rgb(np.zeros((1, 1, 4)), factors)
    assert (abs(grey.astype(int) - 128) < 16).all()  # no latents are about grey


def test_previews_of_the_bundled_model_are_close_to_its_pictures():
    """The decoder's own pictures of random latents, averaged over the 8x8 pixels of a latent."""
    from sfumato.checkpoints import open_model

    model = open_model("mini")
    factors = model.preview_factors
    assert factors is not None
    assert factors.shape == (17, 3)
    assert PRESETS["mini-turbo"].preview_factors == PRESETS["mini"].preview_factors
    random = np.random.default_rng(0)
    latents = np.tile(random.standard_normal((4, 1, 1, 16), "float32"), (1, 8, 8, 1))
    latents[..., 2:4] = latents[..., 5:] = 0  # texture, which has no colour
    picture = np.asarray(model.decoder("float32")(latents))  # (4, 64, 64, 3) of -1..1
    colours = (picture[:, 16:48, 16:48].mean(axis=(1, 2)) + 1) * 127.5
    preview = latents_to_rgb(latents, factors)[:, 4, 4].astype(float)
    assert abs(preview - colours.clip(0, 255)).mean() < 15
