"""What a model says that it reads is what its encoder is given."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sfumato.encoding import Encoder, Reading
from sfumato.explanation import Passage, Token
from sfumato.stable_diffusion import StableDiffusion

PROMPTS = ["a red apple", "(a:2) [b] c, BREAK d", "a house, " * 40, ""]


def test_weights_and_chunks(model: StableDiffusion) -> None:
    found = model.explain("a (red:1.3) apple BREAK night", steps=3)
    (passage,) = found.prompt
    assert passage == Passage(
        "a (red:1.3) apple BREAK night",
        (1, 2, 3),
        1.0,
        (
            (Token(320, "a", 1.0), Token(736, "red", 1.3), Token(3055, "apple", 1.0)),
            (Token(930, "night", 1.0),),
        ),
    )
    assert (found.chunks, found.room) == (2, 75)
    assert [each.chunks for each in found.negative_prompt] == [((),)]


def test_schedules_and_prompts_joined(model: StableDiffusion) -> None:
    found = model.explain("[a|b] AND c [d:0.5]:-2", negative_prompt="[e::1]", steps=4)
    assert [(each.text, each.steps, each.weight) for each in found.prompt] == [
        *(("a", (1, 3), 1.0), ("b", (2, 4), 1.0)),
        *(("c ", (1, 2), -2.0), ("c d", (3, 4), -2.0)),
    ]
    assert [(each.text, each.steps) for each in found.negative_prompt] == [
        *(("e", (1,)), ("", (2, 3, 4))),
    ]
    with pytest.warns(UserWarning, match="no effect without guidance"):
        assert model.explain("a", negative_prompt="b", guidance=1.0).negative_prompt == ()


def test_as_text(model: StableDiffusion) -> None:
    shown = str(model.explain("[a|b] {c} AND (d, e:0.5):2", steps=5, guidance=1.0))
    assert shown.splitlines() == [
        "5 steps, 1 x 75 tokens",
        *("prompt, steps 1, 3, 5: a c", "    2  a · c"),
        *("prompt, steps 2, 4: b c", "    2  b · c"),
        *("prompt, steps 1-5 (weight 2): (d, e:0.5)", "    3  d 0.5 · , 0.5 · e 0.5"),
    ]


def test_words_are_the_first_pictures(model: StableDiffusion) -> None:
    found = model.explain("a {red|green|blue} apple", seed=3, count=4)
    (first, *_) = model.completed("a {red|green|blue} apple", seed=3, count=4).singles()
    assert found.request == first
    assert found.prompt[0].text == first.prompt


@pytest.mark.parametrize("prompt", PROMPTS)
def test_it_is_what_the_encoder_is_given(
    model: StableDiffusion, prompt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[list[int], list[float]]] = []

    def run(self: Encoder, chunks: list) -> tuple[np.ndarray, np.ndarray]:
        for chunk in chunks:
            inner = slice(1, chunk.size + 1)
            given.append((chunk.tokens[inner].tolist(), chunk.weights[inner].tolist()))
        return np.ones((1, 77, 32), "float32"), np.ones((1, 32), "float32")

    monkeypatch.setattr(Encoder, "run", run)
    (passage,) = model.explain(prompt, steps=1).prompt
    Encoder(model.parts, Reading("a1111"))([prompt])
    assert [[token.id for token in chunk] for chunk in passage.chunks] == [ids for ids, _ in given]
    for chunk, (_, weights) in zip(passage.chunks, given, strict=True):
        assert [token.weight for token in chunk] == pytest.approx(weights, abs=1e-6)


def test_as_json(model: StableDiffusion) -> None:
    found = model.explain("a (red:1.3) apple", steps=2, seed=1)
    said = json.loads(json.dumps(found.to_json()))
    assert said["prompt"][0]["chunks"][0][1] == {"id": 736, "text": "red", "weight": 1.3}
    assert said["request"]["seed"] == 1
    assert (said["chunks"], said["prompt"][0]["steps"]) == (1, [1, 2])
