"""What does not fit together is refused by name before anything runs, on every backend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from keras import ops

import tiny_model
from sfumato.networks.configs import TextEncoderConfig
from sfumato.networks.text_encoder import TextEncoder
from sfumato.stable_diffusion import StableDiffusion
from tiny_model import paint

pytestmark = pytest.mark.backend("jax", "tensorflow", "torch", "openvino")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusion:
    return tiny_model.used(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def model(shared: StableDiffusion) -> Iterator[StableDiffusion]:
    with tiny_model.lent(shared):
        del vars(shared.parts)["tokenizer"]  # which changes in place
        yield shared


@pytest.mark.parametrize("options", [{}, {"prompt": "a", "negative_prompt": "a <my-cat>"}])
def test_a_token_without_an_embedding(model: StableDiffusion, options: dict[str, Any]) -> None:
    model.tokenizer.add_tokens("<my-cat>")
    with pytest.raises(ValueError, match=r"`tokenizer` must .* 49408.*add_tokens.*token 49408"):
        paint(model, **{"prompt": "a <my-cat>", **options})
    cat = paint(model, "a cat")
    model.add_tokens("<my-cat>", "cat")  # the way out
    np.testing.assert_array_equal(paint(model, "a <my-cat>"), cat)


def test_a_tokenizer_of_the_users_own(model: StableDiffusion) -> None:
    expected, own = paint(model), model.tokenizer
    asked = []

    def tokenize(text: str, length: int) -> np.ndarray:
        asked.append(text)
        return own(text, length)

    model.tokenizer = tokenize
    assert np.array_equal(paint(model), expected)
    assert all(isinstance(text, str) for text in asked)
    model.generate("a (red:1.3) apple", steps=1)
    assert "a (red:1.3) apple" in asked


def test_a_tokenizer_of_another_length(model: StableDiffusion) -> None:
    model.tokenizer = lambda text, length: np.zeros((1, 50), "int32")
    with pytest.raises(ValueError, match="`tokenizer` must make 77 tokens"):
        paint(model)


@pytest.mark.parametrize("shape", [(50, 16), (154, 16), (77, 24)])
@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_encodings_that_do_not_fit(
    model: StableDiffusion,
    shape: tuple[int, int],
    guidance: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(type(model.parts), "_program", lambda _, *args: asked.append(args))
    with pytest.raises(ValueError, match=r"`encoded_text` must have shape \(77, 16\)"):
        model.generate_image(
            np.zeros(shape, "float32"), unconditional_guidance_scale=guidance, verbose=False
        )
    assert not asked


def test_a_text_encoder_of_another_width(model: StableDiffusion) -> None:
    other = TextEncoder(TextEncoderConfig(width=24, layers=1, heads=2, mlp_width=32))
    other.initialize(0)
    model.text_encoder = other
    with pytest.raises(ValueError, match=r"must have shape \(77, 16\).*\(1, 77, 24\)"):
        paint(model)


def test_tokens_and_embeddings_grow_together(model: StableDiffusion) -> None:
    cat = paint(model, "a cat")
    model.add_tokens("<my-cat>", "cat")
    assert model.tokenizer.encode("<my-cat>")[1] == 49408
    assert model.text_encoder.config.vocabulary == len(model.tokenizer) == 49409
    np.testing.assert_array_equal(paint(model, "a <my-cat>"), cat)
    np.testing.assert_array_equal(paint(model, "a cat"), cat)

    rows = np.random.default_rng(0).standard_normal((2, 16)).astype("float32")
    model.add_tokens(["<one>", "<two>"], rows)
    table = ops.convert_to_numpy(model.text_encoder.embeddings.token_embedding.embeddings)
    np.testing.assert_array_equal(table[-2:], rows)
    assert not np.array_equal(paint(model, "a <one>"), paint(model, "a <two>"))


@pytest.mark.parametrize(
    ("tokens", "embeddings", "message"),
    [
        ("<a>", np.zeros((1, 15)), r"`embeddings` must have shape \(1, 16\)"),
        (["<a>", "<b>"], np.zeros((1, 16)), r"`embeddings` must have shape \(2, 16\)"),
        ("<a>", "two words", "`embeddings` must be a word of one token"),
        ("Cat</w>", np.zeros((1, 16)), "`tokens` must be new words"),
        (["<a>", "<A>"], np.zeros((2, 16)), "`tokens` must be new words"),
    ],
)
def test_tokens_that_do_not_fit(
    model: StableDiffusion, tokens: Any, embeddings: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        model.add_tokens(tokens, embeddings)
    assert len(model.tokenizer) == model.text_encoder.config.vocabulary == 49408


# A subclass


class Louder(StableDiffusion):
    """Weighs words as users of KerasCV did."""

    def encode_text(self, prompt: Any) -> np.ndarray:
        assert isinstance(prompt, str)
        return 1.3 * super().encode_text(prompt)


def test_the_encoding_of_a_subclass_is_used(model: StableDiffusion) -> None:
    louder = Louder(32, 32, model.jit_compile, preset=model.model)
    louder.parts = model.parts
    options = {"num_steps": 2, "seed": 5, "verbose": False}
    context = 1.3 * model.encode_text("a red apple")
    expected = model.generate_image(context, unconditional_guidance_scale=1.0, **options)
    found = louder.text_to_image("a red apple", unconditional_guidance_scale=1.0, **options)
    np.testing.assert_array_equal(found, expected)
    native = louder.generate("a red apple", guidance=1.0, steps=2, seed=5)
    np.testing.assert_array_equal(native[0].pixels, expected[0])
    assert not np.array_equal(paint(louder), paint(model))  # guided: the negative prompt, too
    model.encode_text = louder.encode_text  # of this model alone
    np.testing.assert_array_equal(paint(louder), paint(model))
