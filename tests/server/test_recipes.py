"""Recipes over HTTP: of pictures, of texts, of requests."""

from __future__ import annotations

import numpy as np
import pytest
from fake_painters import Live

from sfumato.pictures import files
from sfumato.pictures.recipe import Recipe, write_text
from sfumato.request import Request
from sfumato.request.wording import command_line, python

ASKED = Request(prompt="a pear", steps=3, seed=7, sampler="euler_a", width=16, height=24)
PIXELS = np.zeros((24, 16, 3), "uint8")


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_the_recipe_of_a_picture(live: Live, kind: str):
    content = files.encode(PIXELS, kind, ASKED.recipe())
    headers = {"Content-Type": f"image/{kind}"}
    facts = live.client.post("/v1/recipes", content=content, headers=headers).json()
    assert Request.from_json(facts["request"]) == ASKED
    assert facts["command"] == command_line(ASKED)
    assert facts["python"] == python(ASKED)
    assert live.studio.history.page(1) == ([], None)  # nothing is kept


def test_a_picture_without_a_recipe(live: Live):
    headers = {"Content-Type": "image/png"}
    answer = live.client.post("/v1/recipes", content=files.encode(PIXELS), headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert live.client.post("/v1/recipes", json={"recipe": "  "}).status_code == 404


def test_the_recipe_of_a_text_says_what_is_not_read(live: Live):
    text = "a pear\nSteps: 3, Seed: 7, CFG scale: 5, Moon phase: full"
    facts = live.client.post("/v1/recipes", json={"recipe": text}).json()
    assert facts["request"] == {"prompt": "a pear", "steps": 3, "seed": 7, "guidance": 5.0}
    assert facts["unread"] == {"Moon phase": "full"}


def test_a_recipe_that_cannot_be_says_why(live: Live):
    text = write_text(Recipe("x", items={"Steps": "-3", "Seed": "7", "CFG scale": "5"}))
    facts = live.client.post("/v1/recipes", json={"recipe": text}).json()
    assert facts["request"] is None
    assert "`steps` must be a whole number" in facts["error"]


def test_a_request_in_other_forms(live: Live):
    facts = live.client.post("/v1/recipes", json={"request": ASKED.to_json()}).json()
    assert facts["request"] == ASKED.to_json()
    assert facts["command"] == command_line(ASKED)
    assert facts["recipe"] == write_text(ASKED.recipe())


@pytest.mark.parametrize(
    "given",
    [
        {"json": {}},
        {"json": {"recipe": 3}},
        {"json": {"request": {"steps": 3}}},
        {"json": {"request": {"prompt": "x", "image": "upload:../../x"}}},
        {"content": b"no picture", "headers": {"Content-Type": "image/png"}},
        {"content": b"{", "headers": {"Content-Type": "application/json"}},
    ],
)
def test_what_is_neither_is_refused(live: Live, given: dict):
    answer = live.client.post("/v1/recipes", **given)
    assert answer.status_code == 400
    assert "Traceback" not in answer.text
