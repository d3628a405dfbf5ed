"""Words in pictures: weights, chunks, schedules and AND, against references and by their laws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_pipelines
import torch
from diffusers import DDIMScheduler
from keras import ops

from sfumato import generation
from sfumato.diffusion import run
from sfumato.encoding import Encoder, Reading
from sfumato.networks.layers import timestep_embedding
from sfumato.request import Request
from sfumato.stable_diffusion import Picture, StableDiffusion, Step

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:diffusers")

PROMPT = "a red apple"
STEPS = 6
LONG = "a red apple on a table, " * 14 + "night"  # 98 tokens


def paint(model: StableDiffusion, prompt: str = PROMPT, **fields: Any) -> np.ndarray:
    pictures = model.generate(prompt, **{"seed": 5, "steps": STEPS, **fields})
    return np.stack([picture.pixels for picture in pictures])


def distance(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype("int16") - b).max())


# Against transformers and diffusers


@pytest.fixture(scope="module", params=["1.x", "2.x", "xl"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """diffusers' pipeline and ours, loaded from the folder that it wrote."""
    theirs = small_pipelines.pipeline(request.param)
    for encoder in (theirs.text_encoder, getattr(theirs, "text_encoder_2", None)):
        if encoder is not None:  # vectors whose mean is not zero, as a norm without a bias has it
            with torch.no_grad():
                network = getattr(encoder, "text_model", encoder)
                network.final_layer_norm.bias.add_(0.3)
                network.encoder.layers[-2].mlp.fc2.bias.add_(0.3)
    folder = tmp_path_factory.mktemp("models")
    theirs.save_pretrained(folder)
    return theirs, StableDiffusion(64, 48, preset=str(folder))


Chunks = list[list[tuple[str, float]]]
"""The pieces of each chunk with their weights, as a person would divide them."""


def embeddings(pipeline: Any, chunks: Chunks, norm: bool) -> dict[str, torch.Tensor]:
    """The statement of A1111's algorithm: modules/sd_hijack_clip.py and sd_emphasis.py."""
    is_xl = hasattr(pipeline, "tokenizer_2")
    halves, pooled = [], None
    for suffix in ("", "_2") if is_xl else ("",):
        tokenizer = getattr(pipeline, f"tokenizer{suffix}")
        encoder = getattr(pipeline, f"text_encoder{suffix}")
        vectors = []
        for chunk in chunks:
            ids, weights = [49406], [1.0]
            for text, weight in chunk:
                found = tokenizer(text, add_special_tokens=False).input_ids
                ids, weights = ids + found, weights + [weight] * len(found)
            rest = 77 - len(ids)
            ids = [*ids, 49407, *[tokenizer.pad_token_id] * rest][:77]
            weights = [*weights, *[1.0] * rest]
            out = encoder(torch.tensor([ids]), output_hidden_states=True)
            z = out.hidden_states[-2] if is_xl else out.last_hidden_state
            mean = z.mean()
            z = z * torch.tensor(weights)[None, :, None]
            vectors.append(z * (mean / z.mean()) if norm else z)
            if suffix and pooled is None:
                pooled = out.text_embeds
        halves.append(torch.cat(vectors, dim=1))
    found = {"prompt_embeds": torch.cat(halves, dim=-1)}
    return found | ({"pooled_prompt_embeds": pooled} if is_xl else {})


@pytest.mark.parametrize(
    ("prompt", "chunks", "negative", "negative_chunks", "emphasis"),
    [
        (
            "a (red:1.4) [apple] BREAK ((night))",
            [
                [("a ", 1.0), ("red", 1.4), (" ", 1.0), ("apple", 1 / 1.1)],
                [("night", 1.1 * 1.1)],
            ],
            "blurry",
            [[("blurry", 1.0)], []],
            "original",
        ),
        (
            "(a red apple:0.7)",
            [[("a red apple", 0.7)], []],
            "blurry BREAK (blue:1.3)",
            [[("blurry", 1.0)], [("blue", 1.3)]],
            "no_norm",
        ),
        (
            LONG,  # 7 tokens up to each comma: 70 of them, and 5 behind the last one that move
            [
                [("a red apple on a table, " * 10, 1.0)],
                [("a red apple on a table, " * 4 + "night", 1.0)],
            ],
            "",
            [[], []],
            "original",
        ),
    ],
    ids=["weights", "longer negative prompt", "long"],
)
def test_pictures_are_those_of_a1111s_vectors(
    pair: Any,
    prompt: str,
    chunks: Chunks,
    negative: str,
    negative_chunks: Chunks,
    emphasis: str,
) -> None:
    theirs, ours = pair
    theirs.scheduler = DDIMScheduler(
        **small_pipelines.NOISE,
        prediction_type=theirs.scheduler.config.prediction_type,
        steps_offset=1,
        clip_sample=False,
    )
    noise = small_pipelines.start_noise(1, 64, 48)
    norm = emphasis == "original"
    with torch.no_grad():
        away = embeddings(theirs, negative_chunks, norm)
        expected = theirs(
            **embeddings(theirs, chunks, norm),
            **{f"negative_{name}": value for name, value in away.items()},
            height=64,
            width=48,
            num_inference_steps=STEPS,
            guidance_scale=7.5,
            latents=torch.tensor(noise.transpose(0, 3, 1, 2)),
            output_type="np",
        ).images
    painted = ours.text_to_image(
        prompt,
        negative,
        num_steps=STEPS,
        unconditional_guidance_scale=7.5,
        diffusion_noise=noise,
        sampler="ddim",
        schedule="leading",
        prompt_syntax="a1111",
        emphasis=emphasis,
        verbose=False,
    )
    expected = np.round(expected * 255)
    assert expected.std() > 5
    difference = np.abs(painted - expected)
    assert difference.max() <= 2
    assert np.mean(difference <= 1) >= 0.999


@pytest.mark.parametrize("skip", [2, 3])
def test_clip_skip(model: StableDiffusion, skip: int) -> None:
    # A1111: the n-th last layer's output, and the final norm
    encoder = small_pipelines.pipeline("1.x").text_encoder
    network = getattr(encoder, "text_model", encoder)
    with torch.no_grad():
        tokens = torch.tensor(model.tokenizer([PROMPT])).long()
        states = encoder(tokens, output_hidden_states=True).hidden_states
        expected = network.final_layer_norm(states[-skip])
    found = Encoder(model.parts, Reading("a1111", clip_skip=skip))([PROMPT]).context
    np.testing.assert_allclose(found, expected.numpy(), atol=2e-5)
    assert distance(paint(model, clip_skip=skip), paint(model)) > 2


def test_clip_skip_of_xl_which_reads_one_layer_only(tmp_path: Path) -> None:
    model = StableDiffusion(64, 48, preset=str(small_pipelines.save("xl", tmp_path)))
    assert Reading.of(Request(prompt="a", clip_skip=2), model.parts).clip_skip == 1
    with pytest.raises(ValueError, match="`clip_skip` must be at most 2 for this model"):
        model.generate("a", clip_skip=3)


def test_comfyuis_weights(model: StableDiffusion) -> None:
    plain, empty = model.encode_text([PROMPT, ""])
    read = Encoder(model.parts, Reading("a1111", "comfyui"))
    (found,) = read(["(a red apple:1.5)"]).context
    expected = plain.copy()
    expected[1:4] = empty[1:4] + 1.5 * (plain[1:4] - empty[1:4])
    np.testing.assert_allclose(found, expected, atol=1e-5)


# What changes nothing, and costs nothing


@pytest.mark.parametrize("prompt", [PROMPT, "", "a " * 75, "the cat's £5, (16:9".replace("(", "")])
def test_words_without_grammar_are_plain_to_the_bit(model: StableDiffusion, prompt: str) -> None:
    painted = paint(model, prompt)
    assert np.array_equal(painted, paint(model, prompt, prompt_syntax="plain"))
    keras_cv = model.text_to_image(prompt, seed=5, num_steps=STEPS, verbose=False)
    assert np.array_equal(painted, keras_cv)


@pytest.mark.parametrize(
    "prompt",
    [
        *("(a red apple:1.0)", "[(a red apple)]", r"a \red apple", "a red apple BREAK"),
        *("[a red:x:99] apple", "[x:a red:0] apple", "a [red|red] apple", "{a red apple}"),
    ],
)
def test_grammar_that_says_nothing_changes_no_bit(model: StableDiffusion, prompt: str) -> None:
    assert np.array_equal(paint(model, prompt), paint(model))


def test_emphasis_that_is_off(model: StableDiffusion) -> None:
    assert np.array_equal(paint(model, "a (red:2) apple", emphasis="ignore"), paint(model))
    literal = paint(model, r"a \(red:2\) apple")
    assert np.array_equal(paint(model, "a (red:2) apple", emphasis="none"), literal)
    plain = model.text_to_image("a (red:2) apple", seed=5, num_steps=STEPS, verbose=False)
    assert np.array_equal(plain, literal)  # KerasCV's methods know no grammar


def test_an_executable_for_each_number_of_chunks(folder: Path) -> None:
    model = StableDiffusion(64, 48, preset=str(folder))
    for prompt in (PROMPT, "a (blue:1.2) boat", "[a:b:2] [c|d]"):
        paint(model, prompt, emphasis="no_norm")
    assert len(model.parts.evaluate.executables) == 1
    for prompt in (LONG, "a BREAK b", "a [b BREAK c:d:2]"):
        paint(model, prompt)
    paint(model, PROMPT, negative_prompt="a BREAK b")
    assert len(model.parts.evaluate.executables) == 2
    for prompt in ("a AND b", "a:0.5 AND b:2"):
        paint(model, prompt)
    assert len(model.parts.evaluate.executables) == 3
    assert len(model.parts.encode_text.executables) == 1
    paint(model, clip_skip=2)
    assert len(model.parts.evaluate.executables) == 3
    assert len(model.parts.encode_text.executables) == 2


def test_chunks_are_encoded_alone(model: StableDiffusion) -> None:
    found = Encoder(model.parts, Reading("a1111"), count=3)(["a red apple BREAK night"]).context
    expected = np.concatenate([*model.encode_text([PROMPT, "night", ""])])
    np.testing.assert_array_equal(found[0], expected)


# Step by step


def by_hand(
    model: StableDiffusion, start: np.ndarray, sampler: str, words: list[dict[str, float]]
) -> Any:
    """Latents after a plan that is followed in NumPy; `words` are the weighted prompts of a step.

    The network is called once for each prompt. Guided by 7.5, from the empty prompt.
    """
    request = model.completed(PROMPT, steps=STEPS, sampler=sampler, schedule="karras")
    plan = request.plan(model.model)
    evaluation = iter(range(len(plan.sigma)))

    def network(x: np.ndarray, timestep: float, text: str) -> np.ndarray:
        waves = ops.convert_to_numpy(timestep_embedding(np.array([timestep]), 32))
        names = ("latent", "timestep_embedding", "context")
        inputs = dict(zip(names, (x, waves, model.encode_text(text)), strict=True))
        return model.diffusion_model.predict_on_batch(inputs)

    def denoise(x: np.ndarray, sigma: float) -> np.ndarray:
        j = next(evaluation)
        y = x / np.sqrt(1 + sigma**2, dtype="float32")
        away = network(y, plan.timestep[j], "")
        eps = away
        for text, weight in words[plan.step[j]].items():
            eps = eps + 7.5 * weight * (network(y, plan.timestep[j], text) - away)
        return x - sigma * eps

    return run(plan, denoise, start * np.float32(plan.start_scale))


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "heun"])
@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a [cat:dog:2]", [{"a cat": 1.0}] * 2 + [{"a dog": 1.0}] * 4),
        ("a [dog:0.5]", [{"a ": 1.0}] * 3 + [{"a dog": 1.0}] * 3),
        ("a [cat|dog]", [{"a cat": 1.0}, {"a dog": 1.0}] * 3),
        ("a cat:0.6 AND a dog", [{"a cat": 0.6, "a dog": 1.0}] * 6),
        (
            "a cat AND [a dog:night:1]:-0.5",
            [{"a cat": 1.0, "a dog": -0.5}] + [{"a cat": 1.0, "night": -0.5}] * 5,
        ),
    ],
    ids=["change", "appear", "turns", "and", "both"],
)
def test_the_words_of_each_step(
    model: StableDiffusion, prompt: str, words: list[dict[str, float]], sampler: str
) -> None:
    start = np.random.default_rng(0).standard_normal((1, 8, 6, 4), "float32")
    expected = generation.decode(model.parts, by_hand(model, start, sampler, words)[0])
    painted = model.text_to_image(
        prompt,
        num_steps=STEPS,
        unconditional_guidance_scale=7.5,
        diffusion_noise=start,
        sampler=sampler,
        schedule="karras",
        prompt_syntax="a1111",
        verbose=False,
    )
    assert distance(painted[0], expected) <= 2
    assert expected.std() > 5


def test_prompts_without_guidance_are_averaged(model: StableDiffusion) -> None:
    alone = paint(model, guidance=1.0)
    assert distance(paint(model, f"{PROMPT} AND {PROMPT}:3", guidance=1.0), alone) <= 1
    mixed = paint(model, f"{PROMPT} AND a blue boat", guidance=1.0)
    assert distance(mixed, alone) > 2
    assert np.isfinite(paint(model, "a:1 AND b:-1", guidance=1.0)).all()


def test_a_negative_prompt_that_is_not_read_adds_no_chunk(model: StableDiffusion) -> None:
    alone = paint(model, guidance=1.0)
    with pytest.warns(UserWarning, match="no effect without guidance"):
        found = paint(model, guidance=1.0, negative_prompt="a BREAK b")
    assert np.array_equal(found, alone)


def test_guidance_in_the_middle_of_several_prompts(model: StableDiffusion) -> None:
    fields = {"guidance": 7.5, "guidance_interval": (0.0, 0.5)}
    twice = paint(model, f"{PROMPT}:0.5 AND {PROMPT}:0.5", **fields)
    assert distance(twice, paint(model, **fields)) <= 1


def test_features_are_reused_across_words(model: StableDiffusion) -> None:
    painted = paint(model, "a [cat:dog:3] AND b", feature_reuse=2)
    assert distance(painted, paint(model, "a [cat:dog:3] AND b")) > 0


# Several pictures


def test_a_picture_is_the_same_whatever_the_words_of_others(model: StableDiffusion) -> None:
    prompt = "{a red apple|a (cat:1.3) BREAK night|a dog AND snow|[boat:ship:3]}"
    made = [*model.stream(prompt, steps=STEPS, seed=0, count=6)]
    pictures = [each for each in made if isinstance(each, Picture)]
    assert [picture.request.seed for picture in pictures] == [*range(6)]
    assert len({picture.request.prompt for picture in pictures}) == 4
    groups = sum(isinstance(each, Step) for each in made) / STEPS
    assert groups == 4  # neighbours of one length share a loop
    for picture in pictures:
        alone = paint(model, prompt, seed=picture.request.seed)
        assert distance(alone[0], picture.pixels) <= 1
        (again,) = model.generate(picture.request)
        assert np.array_equal(again.pixels, alone[0])
        assert again.request == picture.request


def test_own_noise_goes_to_its_own_picture(model: StableDiffusion) -> None:
    noise = np.random.default_rng(0).standard_normal((3, 8, 6, 4), "float32")
    prompts = ["a red apple", "a BREAK b", "a blue boat"]
    settings: dict[str, Any] = {"num_steps": 2, "prompt_syntax": "a1111", "verbose": False}
    together = model.text_to_image(prompts, diffusion_noise=noise, **settings)
    for i, prompt in enumerate(prompts):
        alone = model.text_to_image(prompt, diffusion_noise=noise[i], **settings)
        assert distance(together[i], alone[0]) <= 1


def test_an_encoded_text_is_one_chunk(model: StableDiffusion) -> None:
    encoder = Encoder(model.parts, Reading("a1111"))
    settings: dict[str, Any] = {"seed": 5, "num_steps": STEPS, "verbose": False}
    painted = model.generate_image(encoder(["a (red:1.3) apple"]).context, **settings)
    assert np.array_equal(painted, paint(model, "a (red:1.3) apple"))
    with pytest.raises(ValueError, match=r"`encoded_text` must have shape \(77, "):
        model.generate_image(encoder(["a red apple BREAK night"]).context, **settings)
