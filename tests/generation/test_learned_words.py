"""Learned words in pictures, against diffusers' ``load_textual_inversion``."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import small_pipelines
import torch

import tiny_model
from sfumato import Request, StableDiffusion
from sfumato.adapters.embedding import Embedding
from sfumato.checkpoints.safetensors import write_safetensors
from sfumato.encoding import Encoder, Reading
from sfumato.request import RequestError

PROMPT, NEGATIVE = "a photo of <cat-toy> on a table", "blurry, <cat-toy>"
ROWS = np.random.default_rng(3).standard_normal((2, 3, small_pipelines.TEXT_WIDTH), "float32")


@pytest.fixture(scope="module", params=["1.x", "xl"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """diffusers' pipeline with the word, ours, and the folder that has it."""
    kind: str = request.param
    place = tmp_path_factory.mktemp("models")
    folder, words = small_pipelines.save(kind, place), place / "words"
    theirs = small_pipelines.pipeline(kind)
    words.mkdir()
    first, second = (torch.from_numpy(rows) for rows in ROWS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "1.x":
            write_safetensors(words / "learned_embeds.safetensors", {"<cat-toy>": ROWS[0]})
            theirs.load_textual_inversion({"<cat-toy>": first})
        else:
            write_safetensors(
                words / "<cat-toy>.safetensors", dict(zip(("clip_l", "clip_g"), ROWS, strict=True))
            )
            for rows, n in ((first, ""), (second, "_2")):
                parts = {part: getattr(theirs, part + n) for part in ("tokenizer", "text_encoder")}
                theirs.load_textual_inversion({"x": rows}, token="<cat-toy>", **parts)
    return theirs, StableDiffusion(64, 48, preset=str(folder)), words


def test_the_hidden_states_are_diffusers(pair: Any) -> None:
    theirs, ours, words = pair
    embeddings = Request(prompt="", embeddings=words).embeddings
    encode = Encoder(ours.parts, Reading("a1111", embeddings=embeddings))
    for text in (PROMPT, NEGATIVE, "a red apple"):
        with torch.no_grad():
            expected, _, pooled, *_ = (
                *theirs.encode_prompt(
                    text, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
                ),
                None,
            )
        context = encode([text])
        assert np.abs(context.context - expected.numpy()).max() < 1e-5
        if pooled is not None:
            assert np.abs(context.pooled - pooled.numpy()).max() < 1e-5


def test_the_picture_is_diffusers(pair: Any) -> None:
    theirs, ours, words = pair
    theirs.scheduler = diffusers.DDIMScheduler(
        **small_pipelines.NOISE, timestep_spacing="leading", steps_offset=1, clip_sample=False
    )
    noise = small_pipelines.start_noise(1, 64, 48)
    expected = small_pipelines.picture(
        theirs, PROMPT, noise, negative_prompt=NEGATIVE, num_inference_steps=3, guidance_scale=5.0
    )
    settings = {"sampler": "ddim", "schedule": "leading", "verbose": False, "embeddings": words}
    painted = ours.text_to_image(PROMPT, NEGATIVE, 1, 3, 5.0, diffusion_noise=noise, **settings)
    small_pipelines.assert_same(painted, expected)


def test_the_recipe_names_those_that_are_used(pair: Any) -> None:
    _, ours, words = pair
    for name in ("unused", "turbo"):
        write_safetensors(words / f"{name}.safetensors", {"emb_params": ROWS[0][:, :5]})
    given = {"steps": 1, "seed": 1, "guidance": 5.0, "embeddings": words}
    (picture,) = ours.generate("a turbos", negative_prompt=NEGATIVE, **given)
    (digest,) = {each.digest for each in picture.request.embeddings.values()}
    assert picture.request.recipe().items["TI hashes"] == f"<cat-toy>: {digest[:12]}"
    again = Request.from_json(picture.request.to_json())
    np.testing.assert_array_equal(ours.generate(again)[0].pixels, picture.pixels)
    (plain,) = ours.generate("a turbos", **given)
    assert "TI hashes" not in plain.request.recipe().items

    with pytest.raises(RequestError, match="'turbo', which is for text encoders of width"):
        ours.generate("a turbo", **given)
    wide = Embedding((np.ones((1, 1024), "float32"),))
    with pytest.raises(RequestError, match="'turbo', which is for 2.x"):
        ours.generate("a turbo", **given | {"embeddings": {"turbo": wide}})


def test_a_name_of_none_is_said_once(pair: Any) -> None:
    _, ours, words = pair
    with pytest.warns(UserWarning, match="Read as words.*: <lost>, embedding:gone") as found:
        (picture,) = ours.generate("a <lost> (embedding:gone:1.2)", steps=1, seed=1, count=1)
    assert len(found) == 1
    ours.explain("a <lost>", seed=1)
    assert "<cat-toy> 1.3" in str(ours.explain("(<cat-toy>:1.3)", embeddings=words, seed=1))
    assert picture.request.embeddings == {}


def test_words_of_several_chunks_and_pictures(tmp_path: Path) -> None:
    """Pictures of a batch that draw different words are those that each makes alone."""
    model = tiny_model.load(tiny_model.save(tmp_path / "model"))
    embeddings = {"<cat-toy>": Embedding((ROWS[0][:, :16],))}
    given: dict[str, Any] = {"steps": 1, "guidance": 1.0, "embeddings": embeddings}
    template = "a {cat|<cat-toy>} " + "on a table " * 25 + "<cat-toy>"
    both = model.generate(template, seed=1, count=2, **given)
    assert len({each.request.prompt for each in both}) == 2
    for picture in both:
        (alone,) = model.generate(picture.request.prompt, seed=picture.request.seed, **given)
        assert np.abs(alone.pixels.astype(int) - picture.pixels).max() <= 1
    other = {"<cat-toy>": Embedding((ROWS[1][:, :16],))}
    (changed,) = model.generate(both[0].request.changed(embeddings=other))
    assert not np.array_equal(changed.pixels, both[0].pixels)
