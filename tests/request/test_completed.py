"""Requests that a model completes, or refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from request_samples import IMAGE, MASK, MODEL

from fake_models import FakeSettings
from sfumato.diffusion import latent_noise
from sfumato.pictures import Recipe, read_text, write_text
from sfumato.request import Request, RequestError, seeds
from sfumato.request.checks import RESIZED
from sfumato.request.seeds import start_noise


def test_a_model_completes_it():
    request = Request(prompt="a").completed(MODEL)
    assert 0 <= request.seed < 2**32
    assert replace(request, seed=None) == Request(
        prompt="a",
        width=16,
        height=16,
        model="mini",
        steps=4,
        guidance=6.5,
        sampler="dpmpp_2m",
        schedule="sgm_uniform",
    )
    assert request.completed(FakeSettings(steps=9, guidance=1.0, default_size=64)) == request


@pytest.mark.parametrize(
    "unguided",
    [{"guidance": 1}, {"guidance": 0.5}, {"guidance": 7, "guidance_interval": (0.0, 0.01)}],
)
def test_a_negative_prompt_without_guidance_is_left_out_with_a_warning(unguided):
    asked = Request(prompt="a", negative_prompt="b", seed=1, **unguided)
    with pytest.warns(UserWarning, match="`negative_prompt` has no effect .* guidance=[0-9.]+"):
        completed = asked.completed(MODEL)
    assert completed == replace(asked, negative_prompt=None).completed(MODEL)
    assert completed.recipe().negative_prompt == ""
    assert completed.completed(MODEL) == completed  # and says no more
    for plain in (replace(asked, negative_prompt=""), replace(asked, guidance=3)):
        if plain.guidance_interval == (0.0, 1.0) or not plain.negative_prompt:
            assert plain.completed(MODEL).negative_prompt == plain.negative_prompt


def test_a_model_without_guidance_reads_no_negative_prompt():
    turbo = FakeSettings(guidance=1.0)
    with pytest.warns(UserWarning, match="`negative_prompt` has no effect"):
        assert Request(prompt="a", negative_prompt="b").completed(turbo).negative_prompt is None
    guided = Request(prompt="a", negative_prompt="b", guidance=2).completed(turbo)
    assert guided.negative_prompt == "b"


def test_an_answer_stays():
    fields = {"width": 24, "height": 8, "model": "mini", "steps": 9, "guidance": 0, "count": 2}
    fields |= {"sampler": "euler", "schedule": "beta", "seed": 0}
    asked = Request(prompt="a", **fields)
    assert asked.completed(MODEL) == asked


def test_another_sampler_has_its_own_schedule():
    assert Request(prompt="a", sampler="ddim").completed(MODEL).schedule == "leading"
    assert Request(prompt="a", sampler="dpmpp_2m").completed(MODEL).schedule == "karras"


def test_a_given_picture_has_its_own_size_and_strength():
    request = Request(prompt="a", image=IMAGE).completed(MODEL)
    assert (request.height, request.width, request.strength) == (16, 24, 0.8)
    request = Request(prompt="a", image=IMAGE, mask=MASK).completed(MODEL)
    assert (request.height, request.width, request.strength) == (16, 24, 1.0)
    assert request.completed(MODEL) == request


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"extend": {"left": 8, "right": 16, "top": 24}}, (40, 48)),
        ({"extend": {"left": 3}, "resize": "fill"}, (16, 24)),
        ({"image": IMAGE[:15, :7], "resize": "crop"}, (8, 8)),
        ({"resize": "stretch", "width": 48}, (16, 48)),
        ({"image": IMAGE[:15, :7], "mask": MASK[:15, :7], "inpaint_area": "masked"}, (16, 16)),
        ({"mask": MASK, "inpaint_area": "masked", "height": 32}, (32, 16)),
    ],
)
def test_the_size_of_what_is_painted(fields, size):
    request = Request(prompt="a", **{"image": IMAGE} | fields).completed(MODEL)
    assert (request.height, request.width) == size
    assert request.strength == (1.0 if request.paints_part else 0.8)
    assert request.completed(MODEL) == request


def test_a_recipe_names_the_pictures_it_needs(files):
    request = Request(prompt="a", image="image.png", mask="mask.png").completed(MODEL)
    assert request.image_name == "image.png"
    recipe = read_text(write_text(request.recipe()))
    assert recipe.items["Image"] == "image.png"
    given = Request.from_recipe(recipe, image=IMAGE, mask="mask.png")  # no warning
    assert given.completed(MODEL) == request
    assert given.image_name is None
    with pytest.warns(UserWarning, match=r"^The image is not the one of the recipe \(image.png\)"):
        Request.from_recipe(recipe, image=255 - IMAGE)
    with pytest.warns(UserWarning, match="^The mask is not the one of the recipe, so"):
        Request.from_recipe(recipe, image=IMAGE, mask=MASK[:, ::-1])
    other = request.changed(image=255 - IMAGE)
    assert other.image_name is None
    assert other.recipe().items["Image hash"] != recipe.items["Image hash"]
    assert other.recipe().items["Mask hash"] == recipe.items["Mask hash"]


def test_a_recipe_of_a_picture_that_was_resized_has_its_size():
    asked = {"resize": "crop", "width": 16, "height": 8}
    resized = Request(prompt="a", image=IMAGE, **asked).completed(MODEL)
    masked = Request(prompt="a", image=IMAGE, mask=MASK, inpaint_area="masked").completed(MODEL)
    for request in (resized, masked):
        pictures = {"image": request.image, "mask": request.mask}
        again = Request.from_recipe(read_text(write_text(request.recipe())), **pictures)
        assert again.completed(MODEL) == request


def test_a1111s_words_for_the_masked_area():
    items = {"Mask blur": "4", "Inpaint area": "Only masked", "Masked area padding": "16"}
    request = Request.from_recipe(Recipe("a", "", items), image=IMAGE, mask=MASK)
    assert (request.mask_blur, request.inpaint_area, request.padding) == (4, "masked", 16)
    assert items.items() <= request.recipe().items.items()


@pytest.mark.parametrize(
    ("fields", "model", "message"),
    [
        ({"width": 20}, {}, "`width` must be a multiple of 8. Received: width=20"),
        ({"height": 12}, {}, "`height` must be a multiple of 8. Received: height=12"),
        ({"steps": 1001}, {}, "`steps` must be from 1 to 1000. Received: steps=1001"),
        (
            {"steps": 11},
            {"noise": {"timesteps": 10}},
            "`steps` must be from 1 to 10. Received: steps=11",
        ),
        (
            {"sampler": "lcm", "steps": 60},
            {},
            "`steps` must be at most 50 for the lcm schedule. Received: steps=60",
        ),
        (
            {"sampler_options": {"magic": 1}},
            {},
            "`sampler_options` must be among [] for sampler 'dpmpp_2m' with schedule 'sgm_uniform'",
        ),
        (
            {"sampler": "unipc", "sampler_options": {"order": 9}},
            {},
            "`sampler_options` must have `order` from 1 to 4. Received: order=9",
        ),
        (
            {"seed": 2**64 - 1, "count": 2},
            {},
            "`seed` must be at most 2**64 - 2 for 2 pictures. Received: seed=18446744073709551615",
        ),
        ({"strength": 0.5}, {}, "`image` must be given with `strength`. Received: image=None"),
        ({"mask": MASK}, {}, "`image` must be given with `mask`. Received: image=None"),
        (
            {"image": IMAGE, "strength": 0.2},
            {},
            "`strength` must leave at least one of the steps. Received: steps=4, strength=0.2",
        ),
        (
            {"image": IMAGE, "width": 16, "height": 16},
            {},
            f"`image` must have shape (16, 16), or {RESIZED}. Received: image of shape (16, 24, 3)",
        ),
        (
            {"image": IMAGE[:, :21]},
            {},
            f"`width` must be a multiple of 8, or {RESIZED}. Received: width=21",
        ),
        ({"extend": {"top": 8}}, {}, "`image` must be given with `extend`. Received: image=None"),
        ({"resize": "crop"}, {}, "`image` must be given with `resize`. Received: image=None"),
        (
            {"image": IMAGE, "mask_blur": 4},
            {},
            "`mask` must be given with `mask_blur`. Received: mask=None",
        ),
        (
            {"image": IMAGE, "inpaint_area": "masked"},
            {},
            "`mask` must be given with `inpaint_area`. Received: mask=None",
        ),
        (
            {"image": IMAGE, "mask": MASK, "inpaint_area": "masked", "resize": "crop"},
            {},
            "`resize` must not be given when `inpaint_area` is masked",
        ),
        (
            {"image": IMAGE, "extend": {"left": 4}},
            {},
            f"`width` must be a multiple of 8, or {RESIZED}. Received: width=28",
        ),
        (
            {"image": IMAGE, "extend": {"left": 16}, "resize": "crop", "width": 16},
            {},
            "`extend` must leave room for the picture in 16x16 pixels. Received: extend=",
        ),
        (
            {"image": IMAGE, "mask": MASK, "inpaint_area": "masked", "extend": {"left": 2**26}},
            {},
            "`extend` must make a picture of at most 67108864 pixels in size",
        ),
        (
            {"image": IMAGE, "mask": MASK[:8]},
            {},
            "`mask` must have shape (16, 24). Received: mask of shape (8, 24)",
        ),
        (
            {"image": IMAGE},
            {"sees_masks": True},
            "`mask` must be given for a model made for inpainting",
        ),
    ],
)
def test_what_a_model_cannot_do_is_refused_by_name(fields, model, message):
    with pytest.raises(RequestError) as refused:
        Request(prompt="a", **fields).completed(FakeSettings(**model))
    assert str(refused.value).startswith(message)


def test_the_last_seed():
    request = Request(prompt="a", seed=2**64 - 3, count=3).completed(MODEL)
    assert [single.seed for single in request.singles()] == [2**64 - 3, 2**64 - 2, 2**64 - 1]


@pytest.mark.parametrize("minus_one", [-1, -1.0, np.int32(-1)])
def test_minus_one_is_any_seed(minus_one):
    seeds = {"seed": minus_one, "variation_seed": minus_one}
    assert Request(prompt="a", **seeds) == Request(prompt="a")
    assert Request.from_json({"prompt": "a", "seed": -1}).seed is None
    assert 0 <= Request(prompt="a", **seeds).completed(MODEL).seed < 2**32


def test_variations_share_the_seed_and_count_up_their_own():
    asked = Request(prompt="a {b|c|d|e}", seed=5, variation_strength=0.25, count=3)
    request = replace(asked, variation_seed=7).completed(MODEL)
    singles = request.singles()
    assert [(single.seed, single.variation_seed) for single in singles] == [(5, 7), (5, 8), (5, 9)]
    assert len({single.prompt for single in singles}) == 1
    assert 0 <= asked.completed(MODEL).variation_seed < 2**32
    assert replace(asked, variation_strength=0).completed(MODEL).variation_seed is None
    with pytest.raises(RequestError, match="`variation_seed` must be at most 2..64 - 3 for 3"):
        replace(asked, variation_seed=2**64 - 2).completed(MODEL)


def test_seeds_and_tiles_as_a1111_writes_them():
    text = "a\nSteps: 20, Seed: 5, Size: 24x16, Variation seed: 7, Variation seed strength: 0.2"
    recipe = read_text(text + ", Seed resize from: 512x256, Tiling: True")
    known = {"steps": 20, "seed": 5, "width": 24, "height": 16, "seamless": True}
    known |= {"variation_seed": 7, "variation_strength": 0.2, "seed_resize": [512, 256]}
    assert Request.from_recipe(recipe) == Request(prompt="a", **known)
    assert Request.from_recipe(recipe).recipe().items["Tiling"] == "True"
    plain = read_text("a\nSteps: 20, Seed: 5, Tiling: False")
    assert Request.from_recipe(plain) == Request(prompt="a", steps=20, seed=5)
    assert Request(prompt="a", seamless=False) == Request(prompt="a")


def test_the_start_noise_is_that_of_the_smaller_size():
    """In the middle; around it, and in a narrower picture, the seed's own of that size."""
    request = Request(prompt="a", seed=5, seed_resize=(16, 40)).completed(MODEL)
    noise = start_noise(request, (7, 4, 4), 8)
    assert np.array_equal(noise[1:6, 1:3], latent_noise(5, 5, 2))
    noise[1:6, 1:3] = latent_noise(5, 7, 4)[1:6, 1:3]
    assert np.array_equal(noise, latent_noise(5, 7, 4))
    same = replace(request, seed_resize=None)
    assert np.array_equal(start_noise(same, (7, 4, 4), 8), latent_noise(5, 7, 4))
    with pytest.raises(RequestError, match="`seed_resize` must be .* multiples of 16"):
        seeds.check(replace(request, seed_resize=(16, 24)), 16)


def test_a_model_for_inpainting():
    request = Request(prompt="a", image=IMAGE, mask=MASK).completed(FakeSettings(sees_masks=True))
    assert request.strength == 1


def test_batches_keep_their_seeds():
    request = Request(prompt="a", seed=5, count=5)
    assert [(part.seed, part.count) for part in request.batches(2)] == [(5, 2), (7, 2), (9, 1)]
    assert [*request.batches(9)] == [request]
    assert request.singles() == [*request.batches(1)]
    assert [single.seed for single in request.singles()] == [5, 6, 7, 8, 9]


def test_the_plan_is_the_samplers():
    request = Request(prompt="a", steps=10, sampler="euler_a", sampler_options={"eta": 0.0})
    completed = request.completed(MODEL)
    assert not completed.plan(MODEL).matrix[..., -1].any()  # eta 0: no noise
    other = replace(completed, sampler_options={"eta": 1.0}).plan(MODEL)
    assert other.matrix[..., -1].any()
    assert completed.plan(MODEL) is completed.plan(MODEL)  # made once
    half = replace(completed, image=IMAGE, strength=0.5).plan(MODEL)
    assert half.steps == 5
