"""Pictures are looked at by the safety classifier where their request asks for it."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

from recipes.nsfwjs.judge import photograph
from sfumato import Picture, StableDiffusion, Step
from sfumato.pictures.recipe import read_text, write_text
from sfumato.request import Request
from sfumato.safety import blurred

EYE = np.array(Image.fromarray(photograph("microaneurysms.png")).resize((48, 64)))
"""What the classifier wrongly takes for unsafe."""
MASK = np.zeros((64, 48), "uint8")
MASK[:8, :8] = 255  # the rest stays the eye


def made(model: StableDiffusion, **fields: Any) -> tuple[list[Step], Picture]:
    own = {"image": EYE, "mask": MASK, "steps": 2, "seed": 1}
    *steps, picture = model.stream("an eye", **own | fields)
    assert isinstance(picture, Picture)
    return [step for step in steps if isinstance(step, Step)], picture


def test_an_unsafe_picture_is_flagged_or_blurred(
    model: StableDiffusion, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(vars(model.model), "preview_factors", np.ones((5, 3), "float32"))
    steps, plain = made(model)
    assert plain.flags == ()
    assert steps[0].preview() is not None

    steps, flagged = made(model, safety="flag")
    assert "porn" in flagged.flags[0]
    assert np.array_equal(flagged.pixels, plain.pixels)
    assert steps[0].preview() is not None

    steps, hidden = made(model, safety="blur")
    assert "it was blurred" in hidden.flags[0]
    assert np.array_equal(hidden.pixels, blurred(plain.pixels))
    assert [step.preview() for step in steps] == [None, None]  # they would show it
    recipe = read_text(write_text(hidden.request.recipe()))
    assert Request.from_recipe(recipe, image=EYE, mask=MASK).safety == "blur"


def test_the_methods_of_kerascv_blur_too(model: StableDiffusion):
    given = {"num_steps": 2, "seed": 1, "verbose": False}
    (hidden,) = model.inpaint("an eye", EYE, MASK / 255, safety="blur", **given)
    assert np.array_equal(hidden, made(model, safety="blur")[1].pixels)


def test_nothing_is_loaded_unless_it_is_asked_for(
    model: StableDiffusion, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "sfumato.safety", None)  # cannot be imported
    assert made(model)[1].flags == ()
    with pytest.raises(ImportError, match=r"sfumato\.safety"):
        made(model, safety="flag")
