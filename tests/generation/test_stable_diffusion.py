"""What a user of ``StableDiffusion`` may rely on."""

from __future__ import annotations

import contextlib
import io
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import small_pipelines

from sfumato.checkpoints import CheckpointError
from sfumato.finite import check_finite
from sfumato.networks.network import keys
from sfumato.stable_diffusion import NotFiniteError, StableDiffusion, Step

PROMPT = "a red apple"


def paint(model: StableDiffusion, prompt: Any = PROMPT, **options: Any) -> np.ndarray:
    settings = {"num_steps": 3, "seed": 5, "verbose": False, **options}
    return model.text_to_image(prompt, **settings)


def test_one_executable_serves_all_settings(folder: Path) -> None:
    model = StableDiffusion(64, 48, preset=str(folder))
    for options in (
        {},
        {"num_steps": 11},
        {"seed": 6, "prompt": "a blue boat"},
        {"unconditional_guidance_scale": 3.0, "guidance_rescale": 0.5},
        {"sampler": "heun", "schedule": "exponential"},
        {"sampler": "dpmpp_sde", "negative_prompt": "green"},
        {"sampler": "unipc", "num_steps": 40},
    ):
        paint(model, **options)
    parts = model.parts
    assert len(parts.evaluate.executables) == 1
    paint(model, unconditional_guidance_scale=1.0)  # half the batch is another shape
    assert len(parts.evaluate.executables) == 2
    assert len(parts.decode.executables) == len(parts.encode_text.executables) == 1


def test_a_used_pipeline_and_a_fresh_one_give_the_same_bytes(
    model: StableDiffusion, folder: Path
) -> None:
    fresh = paint(StableDiffusion(64, 48, preset=str(folder)), sampler="euler_a")
    paint(model, num_steps=7, seed=1, sampler="dpmpp_2m_sde")
    assert np.array_equal(paint(model, sampler="euler_a"), fresh)


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "dpmpp_2m_sde"])
def test_a_picture_of_a_batch_is_the_picture_alone(model: StableDiffusion, sampler: str) -> None:
    together = paint(model, batch_size=2, sampler=sampler)
    for i in range(2):
        alone = paint(model, seed=5 + i, sampler=sampler)
        assert np.abs(together[i].astype("int16") - alone[0]).max() <= 1
    assert not np.array_equal(together[0], together[1])


def test_a_list_of_prompts(model: StableDiffusion) -> None:
    several = paint(model, [PROMPT, "a blue boat"], batch_size=2, negative_prompt=["x", "y"])
    assert several.shape == (4, 64, 48, 3)
    second = paint(model, "a blue boat", negative_prompt="y", seed=7)
    assert np.abs(several[2].astype("int16") - second[0]).max() <= 1


def test_the_methods_of_the_predecessor(model: StableDiffusion) -> None:
    encoded = model.encode_text(PROMPT)
    assert encoded.shape == (1, 77, 32)
    noise = np.random.default_rng(0).standard_normal((8, 6, 4))
    settings: dict[str, Any] = {"num_steps": 2, "diffusion_noise": noise, "verbose": False}
    pictures = model.generate_image(np.squeeze(encoded), batch_size=2, **settings)
    assert np.array_equal(pictures[0], pictures[1])
    rows = model.generate_image(np.repeat(encoded, 2, axis=0), batch_size=2, **settings)
    assert np.array_equal(pictures, rows)
    tokens = model.tokenizer.encode(PROMPT)
    assert tokens == [49406, 320, 736, 3055, 49407]
    context = model.text_encoder.predict_on_batch({"tokens": model.tokenizer(PROMPT)})
    assert np.allclose(context, encoded, atol=1e-5)
    latents = model.image_encoder.predict_on_batch(np.zeros((1, 64, 48, 3), "float32"))
    assert latents.shape == (1, 8, 6, 4)
    assert model.decoder.predict_on_batch(latents).shape == (1, 64, 48, 3)
    inputs = {
        "latent": latents,
        "timestep_embedding": np.zeros((1, 32), "float32"),
        "context": encoded,
    }
    assert model.diffusion_model.predict_on_batch(inputs).shape == latents.shape


def test_the_progress_bar(model: StableDiffusion) -> None:
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        paint(model, num_steps=4, verbose=True)
    assert "4/4" in shown.getvalue()
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        paint(model)
    assert shown.getvalue() == ""


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "heun"])
def test_events(model: StableDiffusion, sampler: str) -> None:
    events: list[Step] = []
    paint(model, num_steps=4, sampler=sampler, on_step=events.append)
    assert [(event.step, event.steps) for event in events] == [(i, 4) for i in (1, 2, 3, 4)]
    assert events[0].latents().shape == (1, 8, 6, 4)


def test_cancelling_leaves_the_pipeline_usable(model: StableDiffusion) -> None:
    before = paint(model)
    seen = []

    def cancel(event: Step) -> None:
        seen.append(event.step)
        if event.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        paint(model, num_steps=20, on_step=cancel)
    assert seen == [1, 2]
    assert np.array_equal(paint(model), before)


def test_numbers_that_are_not_finite_name_the_part_and_the_weight(folder: Path) -> None:
    model = StableDiffusion(64, 48, preset=str(folder))
    for part, bias, value, message in (
        ("diffusion_model", "conv_out.bias", np.nan, r"step 1 of 3 .*weight `{}` .* is nan"),
        ("decoder", "decoder.conv_out.bias", np.inf, r"decoder's picture .*weight `{}` .* is inf"),
        (
            "text_encoder",
            "final_layer_norm.bias",
            -np.inf,
            r"encoded text .*weight `{}` .* is -inf",
        ),
    ):
        variable = keys(getattr(model, part))[bias]
        good = keras.ops.convert_to_numpy(variable.value)
        variable.assign(np.full(good.shape, value))
        with pytest.raises(NotFiniteError, match=message.format(bias)) as error:
            paint(model)
        assert str(folder) in str(error.value)
        assert "float16" not in str(error.value)
        variable.assign(good)
    paint(model)


def test_an_overflow_says_what_the_dtype_can_do_about_it(folder: Path) -> None:
    for dtype, remedy in (
        ("mixed_float16", r"not finite\. Use .* instead of float16"),
        ("float32", "overflows in float32, though every weight is finite"),
    ):
        parts = StableDiffusion(64, 48, preset=str(folder), dtype=dtype).parts
        parts.decoder  # noqa: B018  loads it
        with pytest.raises(NotFiniteError, match=remedy):
            check_finite(parts, False, "The picture is", "decoder")
        keys(parts.decoder)["decoder.conv_out.bias"].assign(np.full(3, 1e6))
        too_large = r"`decoder\.conv_out\.bias` .* is 1000000.*, too large.* instead of float16"
        with pytest.raises(NotFiniteError, match=too_large if "16" in dtype else remedy):
            check_finite(parts, False, "The picture is", "decoder")


def test_a_model_without_a_decoder_says_so_before_the_first_step(folder: Path) -> None:
    model = StableDiffusion(64, 48, preset=str(folder))
    parts = {k: v for k, v in model.model.checkpoint.parts.items() if k != "decoder"}
    model.parts.model = replace(
        model.model, checkpoint=replace(model.model.checkpoint, parts=parts)
    )
    steps: list[Step] = []
    with pytest.raises(ValueError, match="holds no decoder"):
        paint(model, on_step=steps.append)
    assert not steps


def test_seeds(model: StableDiffusion) -> None:
    state = np.random.get_state()[1].copy()  # noqa: NPY002  it must not be touched
    drawn = paint(model, seed=None)
    with pytest.warns(DeprecationWarning, match=r"generate.*request\.seed"):
        seed = model.last_seed
    assert seed is not None
    assert np.array_equal(paint(model, seed=seed), drawn)
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_precision(folder: Path) -> None:
    policy = keras.config.dtype_policy()
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = StableDiffusion(64, 48, preset=str(folder))
        assert model.diffusion_model.compute_dtype == "float16"
        assert model.diffusion_model.variable_dtype == "float32"
        half = paint(model)
    finally:
        keras.config.set_dtype_policy(policy)
    whole = paint(StableDiffusion(64, 48, preset=str(folder)))
    # 0.36 levels; guidance of 7 instead of 7.5 makes it 1.2, another sampler 2, another prompt 11.
    assert np.abs(half.astype("int16") - whole).mean() < 0.8
    small = StableDiffusion(64, 48, preset=str(folder), dtype="bfloat16")
    assert small.diffusion_model.variable_dtype == "bfloat16"
    assert np.abs(paint(small).astype("int16") - whole).mean() < 5  # 3.0, with 8 bits of precision


def test_without_compilation(folder: Path, model: StableDiffusion) -> None:
    plain = StableDiffusion(64, 48, jit_compile=False, preset=str(folder))
    difference = np.abs(paint(plain, num_steps=1).astype("int16") - paint(model, num_steps=1))
    assert difference.max() <= 1


def test_inpainting_keeps_what_is_not_masked(model: StableDiffusion) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 48, 3))
    mask = np.zeros((64, 48))
    mask[20:44, 10:30] = 1
    painted = model.inpaint(PROMPT, picture, mask, seed=1, num_steps=3, verbose=False)[0]
    assert np.array_equal(painted[mask == 0], picture[mask == 0])
    assert not np.array_equal(painted[mask == 1], picture[mask == 1])


def test_a_model_for_inpainting(tmp_path: Path) -> None:
    folder = small_pipelines.save("inpainting", tmp_path)
    model = StableDiffusion(64, 48, preset=str(folder))
    with pytest.raises(ValueError, match="`mask` must be given for a model made for inpainting"):
        paint(model)
    picture = np.random.default_rng(0).integers(0, 256, (64, 48, 3))
    settings = {"seed": 1, "num_steps": 3, "verbose": False}
    everywhere = model.image_to_image(PROMPT, picture, **settings)
    mask = np.ones((64, 48), bool)
    np.testing.assert_array_equal(
        everywhere, model.image_to_image(PROMPT, picture, mask=mask, **settings)
    )


def test_one_picture_and_mask_for_all_is_each_for_itself(model: StableDiffusion) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 48, 3))
    mask = np.zeros((64, 48))
    mask[20:44, 10:30] = 1
    settings = {"seed": 1, "num_steps": 3, "verbose": False, "batch_size": 2}
    shared = model.inpaint(PROMPT, picture, mask, **settings)
    each = model.inpaint(PROMPT, np.stack([picture] * 2), np.stack([mask] * 2), **settings)
    np.testing.assert_array_equal(shared, each)


@pytest.mark.parametrize(
    "mask",
    [
        np.full((64, 48), 255, "uint8"),
        np.ones((48, 64)),
        np.full((64, 48), np.nan),
        np.ones((3, 64, 48)),
    ],
    ids=["0..255", "turned", "nan", "three"],
)
def test_masks_that_do_not_fit(model: StableDiffusion, mask: np.ndarray) -> None:
    with pytest.raises(ValueError, match="`mask` must have"):
        model.inpaint(PROMPT, np.zeros((64, 48, 3)), mask)


def test_one_negative_prompt_for_each_prompt(model: StableDiffusion) -> None:
    negatives = ["green", "blurred"]
    together = paint(model, ["a red apple", "a boat"], negative_prompt=negatives, batch_size=2)
    first = paint(model, "a red apple", negative_prompt="green", batch_size=2)
    assert np.abs(together[:2].astype("int16") - first).max() <= 1


def test_a_given_start_noise_gives_one_picture(model: StableDiffusion) -> None:
    noise = np.random.default_rng(0).standard_normal((8, 6, 4))
    options = {"seed": None, "diffusion_noise": noise, "sampler": "euler_a"}
    np.testing.assert_array_equal(paint(model, **options), paint(model, **options))


def test_wrong_settings_are_told_before_anything_is_loaded(folder: Path) -> None:
    model = StableDiffusion(64, 48, preset=str(folder))
    for options in ({"sampler": "best"}, {"num_steps": 1001}, {"guidance_rescale": 2.0}):
        with pytest.raises(ValueError, match="must be"):
            paint(model, **options)
    with pytest.raises(ValueError, match="`image` must have"):
        model.image_to_image(PROMPT, np.zeros((8, 8, 3)))
    assert not {"text_encoder", "diffusion_model"} & vars(model.parts).keys()


def test_tokens_that_a_folder_adds(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "model")
    assert StableDiffusion(64, 48, preset=str(copy)).tokenizer.encode("<my-cat>")[1] != 49408
    (copy / "tokenizer" / "added_tokens.json").write_text('{"<my-cat>": 49408}')
    with pytest.raises(CheckpointError, match="49408 embeddings in text_encoder and 49409 tokens"):
        StableDiffusion(64, 48, preset=str(copy)).text_to_image("<my-cat>")


def test_a_long_prompt_names_what_was_cut(model: StableDiffusion) -> None:
    with pytest.warns(UserWarning, match="castle"):
        model.encode_text("a house " * 50 + "with a castle")


def test_a_later_change_of_the_weights_is_seen(folder: Path) -> None:
    model = StableDiffusion(64, 48, preset=str(folder))
    before = paint(model)
    kernel = model.diffusion_model.conv_in.kernel
    kernel.assign(0.5 * kernel)
    assert not np.array_equal(paint(model), before)


@pytest.mark.parametrize("number", [np.uint8, np.float32, float, np.array], ids=str)
def test_numbers_of_any_type_are_those_of_python(
    model: StableDiffusion, folder: Path, number: Any
) -> None:
    same = StableDiffusion(number(64), number(48), preset=str(folder))
    assert (same.img_height, same.img_width) == (64, 48)
    assert {type(same.img_height), type(same.img_width)} == {int}

    # Seeds of several pictures go beyond a small type's last number.
    settings: dict[str, Any] = {"num_steps": 2, "seed": 255, "batch_size": 2}
    given = {name: number(value) for name, value in settings.items()}
    assert np.array_equal(paint(model, **given), paint(model, **settings))
    assert model._last_seed == 255
    assert type(model._last_seed) is int


NOISE = np.zeros((8, 6, 4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_steps": 0}, "num_steps"),
        ({"prompt": 7}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"batch_size": 0}, "batch_size"),
        ({"seed": -2}, "seed"),
        ({"sampler": "best"}, "sampler"),
        ({"schedule": "best"}, "schedule"),
        ({"seed": 1, "diffusion_noise": NOISE}, "diffusion_noise"),
        ({"seed": None, "diffusion_noise": NOISE[1:]}, "diffusion_noise"),
        ({"negative_prompt": ["a", "b"], "batch_size": 1}, "negative_prompt"),
        ({"negative_prompt": ["a", "b"], "batch_size": 2}, "one for each .*2 for 1 prompts"),
        ({"prompt": ["a"] * 4, "negative_prompt": ["a", "b"]}, "one for each .*2 for 4 prompts"),
        ({"prompt": ["a"] * 2, "negative_prompt": ["b"] * 4, "batch_size": 2}, "4 for 2 prompts"),
        ({"negative_prompt": 4, "unconditional_guidance_scale": 1.0}, "negative_prompt"),
        ({"negative_prompt": ["a", 4]}, "negative_prompt"),
        ({"negative_prompt": []}, "negative_prompt"),
        (
            {"negative_prompt": ["a", "b"], "unconditional_guidance_scale": 1.0},
            "one for each .*2 for 1 prompts",
        ),
        ({"guidance": 3}, "guidance"),
        ({"num_steps": 3.7}, "num_steps"),
        ({"batch_size": 1.5}, "batch_size"),
        ({"batch_size": "2"}, "batch_size"),
        ({"seed": "7"}, "seed"),
        ({"seed": 2**64 - 1, "batch_size": 2}, f"2 for 2 pictures. Received: seed={2**64 - 1}"),
        ({"seed": 2**64 - 3, "prompt": ["a"] * 4}, f"4 for 4 pictures. .* seed={2**64 - 3}"),
        ({"seed": 0.5}, "seed"),
        ({"height": "64"}, "height"),
        ({"unconditional_guidance_scale": float("nan")}, "unconditional_guidance_scale"),
        ({"unconditional_guidance_scale": "7"}, "unconditional_guidance_scale"),
        ({"seed": None, "diffusion_noise": NOISE + np.nan}, "diffusion_noise.*192 of 192"),
        ({"seed": None, "diffusion_noise": NOISE.astype(str)}, "diffusion_noise.*of <U"),
    ],
    ids=str,
)
def test_arguments_that_do_not_fit(
    model: StableDiffusion, options: dict[str, Any], message: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        paint(model, **options)


@pytest.mark.parametrize("size", [500, 0, -8, 64.5, "64", None, True, np.array([64, 64])])
def test_sizes_are_never_rounded(folder: Path, size: Any) -> None:
    with pytest.raises(ValueError, match=r"`img_height` must be .* Received: img_height="):
        StableDiffusion(size, 512, preset=str(folder))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_encodings_that_are_not_finite(model: StableDiffusion, value: float) -> None:
    encoded = model.encode_text(PROMPT).astype("float64")
    encoded[0, 5, 7] = value
    with pytest.raises(ValueError, match="`encoded_text` must have finite numbers. .* 1 of"):
        model.generate_image(encoded, num_steps=2, seed=1, verbose=False)


def test_a_picture_divided_by_255_is_refused(model: StableDiffusion) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (64, 48, 3)).astype("uint8")
    mask = np.ones((64, 48))
    for wrong in (picture / 255, picture[None] / np.float32(255), picture > 9):
        with pytest.raises(ValueError, match="`image` must be .*255. Received: image: .* of 0..1"):
            model.image_to_image(PROMPT, wrong)
        with pytest.raises(ValueError, match="`image` must be .*255. Received: image: .* of 0..1"):
            model.inpaint(PROMPT, wrong, mask)
    for wrong in ("apple.png", Path("apple.png"), None, [[1], [2, 3]]):
        with pytest.raises(ValueError, match="`image` must be"):
            model.image_to_image(PROMPT, wrong)
        with pytest.raises(ValueError, match="`mask` must be"):
            model.inpaint(PROMPT, picture, wrong or "mask.png")


@pytest.mark.parametrize("strength", [0, 1.1, -1])
def test_strength(model: StableDiffusion, strength: float) -> None:
    with pytest.raises(ValueError, match="strength"):
        model.image_to_image(PROMPT, np.zeros((64, 48, 3)), strength)


def test_a_picture_of_another_size(model: StableDiffusion) -> None:
    with pytest.raises(ValueError, match="image"):
        model.image_to_image(PROMPT, np.zeros((48, 64, 3)))


def test_the_decoder_of_xl_stays_out_of_float16(tmp_path: Path) -> None:
    xl = StableDiffusion(64, 48, preset=str(small_pipelines.save("xl", tmp_path)), dtype="float16")
    assert xl.diffusion_model.compute_dtype == "float16"
    assert xl.decoder.compute_dtype == xl.image_encoder.compute_dtype == "float32"
    with pytest.raises(ValueError, match="pooled_text"):
        xl.generate_image(np.zeros((77, 64)), verbose=False)


def test_what_the_files_do_not_tell_can_be_told(folder: Path) -> None:
    told = StableDiffusion.from_preset(str(folder), prediction="v_prediction")
    assert told.model.prediction == "v_prediction"
    assert (told.img_height, told.img_width) == (64, 64)  # the U-Net's sample size
    assert StableDiffusion.from_preset(str(folder)).model.prediction == "epsilon"


def test_int8_says_which_backend_it_needs():
    model = StableDiffusion.from_preset("mini")
    with pytest.raises(ValueError, match="must be 'openvino' for pictures in int8"):
        model.quantize("int8")
    assert "diffusion_model" not in vars(model.parts)  # nothing was loaded to find out
