"""Which pictures may share a batch, and the words that each draws."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from request_samples import EASY, IMAGE, MASK, MODEL, SAMPLES

from fake_models import FakeSettings
from sfumato.pictures import Recipe, read_text, write_text
from sfumato.request import Request, RequestError


def test_shape_key():
    request = Request(prompt="a").completed(MODEL)
    same = {"prompt": "b", "seed": 9, "steps": 7, "guidance": 2.0, "sampler": "lms", "count": 3}
    same |= {"variation_seed": 9, "variation_strength": 0.5, "seed_resize": (24, 24)}
    for name, value in same.items():
        assert replace(request, **{name: value}).shape_key == request.shape_key, name
    other = {"width": 24, "height": 24, "dtype": "float16", "quantize": "int8", "guidance": 1.0}
    other |= {"token_merging": 0.5, "feature_reuse": 2, "mask": MASK, "model": "sd1.5"}
    other |= {"clip_skip": 2, "seamless": "x", "decoder": "tiny", "embeddings": {"easy": EASY}}
    for name, value in other.items():
        assert replace(request, **{name: value}).shape_key != request.shape_key, name
    hash(request.shape_key)


def test_batch_key():
    pictured = Request(prompt="a", image=IMAGE, mask=MASK).completed(MODEL)
    same = {"prompt": "b", "negative_prompt": "c", "seed": 9, "count": 3, "image": 255 - IMAGE}
    same |= {"wildcards": {"a": ("b",)}, "template": "{b}", "negative_template": "{c}"}
    same |= {"variation_seed": 9, "variation_strength": 0.5, "seed_resize": (24, 24)}
    same |= {"loras": [("film", 0.5)], "lora_folder": "."}
    for name, value in same.items():
        assert replace(pictured, **{name: value}).batch_key == pictured.batch_key, name
    other = {name: value for name, (value, _) in SAMPLES.items() if name not in same}
    other |= {"width": 32, "height": 32, "mask": None, "image": None}
    for name, value in other.items():
        changed = replace(pictured, **{name: value})
        assert (changed.batch_key != pictured.batch_key) == (name != "mask" or value is None), name
    hash(pictured.batch_key)


# Words that are drawn


def test_each_picture_draws_its_own_words():
    template = "a {red|green|blue|white} {cat|dog}"
    request = Request(prompt=template, negative_prompt="{x|y}", seed=5, count=8).completed(MODEL)
    assert request.prompt == template
    singles = request.singles()
    assert len({single.prompt for single in singles}) > 2
    for single in singles:
        assert "{" not in single.prompt + single.negative_prompt
        assert (single.template, single.negative_template) == (template, "{x|y}")
        (alone,) = replace(request, seed=single.seed, count=1).singles()
        assert alone == single
        # The recipe has both, and what it states draws nothing.
        again = Request.from_recipe(read_text(write_text(single.recipe())))
        assert again.template == template
        assert again.singles() == [again]


def test_plain_words_are_not_drawn():
    (single,) = Request(prompt="{a|b}", prompt_syntax="plain", seed=1).singles()
    assert (single.prompt, single.template) == ("{a|b}", None)


def test_wildcards_are_drawn_and_forgotten():
    lists = {"animals": ("cat", "{dog|wolf}")}
    request = Request(prompt="a __animals__", wildcards=lists, seed=1, count=9)
    singles = request.completed(MODEL).singles()
    assert {single.prompt for single in singles} == {"a cat", "a dog", "a wolf"}
    assert all(single.wildcards == {} for single in singles)
    (single,) = Request(prompt="a cat", wildcards=lists, seed=1).singles()
    assert (single.template, single.wildcards) == (None, {})
    with pytest.raises(RequestError) as refused:
        Request(prompt="a __fish__", wildcards=lists).completed(MODEL)
    assert str(refused.value) == "`wildcards` must have a list called fish. Received: animals"


def test_a_new_prompt_takes_no_template_along():
    request = Request(prompt="a cat", template="a {cat|dog}", negative_template="{b}")
    assert request.changed(prompt="a cat", steps=3).template == "a {cat|dog}"
    assert request.changed(prompt="a dog").template is None
    assert request.changed(prompt="a dog").negative_template == "{b}"
    assert request.changed(prompt="a dog", template="x").template == "x"
    recipe = Recipe("a cat", "", {"Template": "a {cat|dog}"})
    assert Request.from_recipe(recipe).template == "a {cat|dog}"
    assert Request.from_recipe(recipe, prompt="a dog").template is None


@pytest.mark.parametrize("value", ["nowhere", {"a": "b"}, {"a": [1]}, 3, ["a"]])
def test_no_wildcards(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        RequestError, match="`wildcards` must be a folder with .txt files, or lists"
    ):
        Request(prompt="a", wildcards=value)
    with pytest.raises(RequestError, match="`wildcards` must be a folder"):
        Request(prompt="a", wildcards=tmp_path)  # in which there is nothing
    (tmp_path / "a.txt").write_text("b")
    with pytest.raises(RequestError, match="`wildcards` must be a folder"):
        Request.from_json({"prompt": "a", "wildcards": str(tmp_path)})  # a stranger's


@pytest.mark.parametrize(
    ("reads_any_layer", "most"), [(True, 12), (False, 2)], ids=["1.x", "2.x and XL"]
)
def test_clip_skip(reads_any_layer, most):
    model = FakeSettings(family=SimpleNamespace(reads_any_layer=reads_any_layer))
    assert Request(prompt="a", clip_skip=most).completed(model).clip_skip == most
    with pytest.raises(RequestError, match=f"`clip_skip` must be at most {most} for this model"):
        Request(prompt="a", clip_skip=most + 1).completed(model)
