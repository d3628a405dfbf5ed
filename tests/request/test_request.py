"""`Request`: the same from Python, JSON, the command line and a recipe; completed or refused."""

from __future__ import annotations

import base64
import doctest
import io
import json
import pickle
import sys
import tempfile
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from PIL import Image

from fake_models import FakeSettings
from sfumato.adapters.embedding import Embedding, read_embedding
from sfumato.checkpoints.safetensors import write_safetensors
from sfumato.cli.arguments import COMMANDS
from sfumato.cli.asked import read_arguments
from sfumato.diffusion import SAMPLERS, SCHEDULES, Sampler, find_sampler, latent_noise
from sfumato.pictures import Recipe, read_text, save, write_text
from sfumato.pictures.canvas import RESIZES, SIDES
from sfumato.presets.families import find_family
from sfumato.request import Request, RequestError, larger, seeds
from sfumato.request.checks import RESIZED
from sfumato.request.control import Control
from sfumato.request.declaration import EMPHASES
from sfumato.request.fields import specs
from sfumato.request.image_prompts import ImagePrompt
from sfumato.request.seeds import start_noise

MODEL = FakeSettings()
IMAGE = np.random.default_rng(1).integers(0, 256, (16, 24, 3), np.uint8)
MASK = np.random.default_rng(2).integers(0, 256, (16, 24), np.uint8)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
UNIT = st.floats(0, 1)
OPTIONS = st.dictionaries(
    st.from_regex(r"[a-z_]{1,9}", fullmatch=True),
    st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.just("sdxl"),
    max_size=3,
)
PIXELS = st.integers(0, 255).map(lambda shade: np.full((8, 16, 3), shade, np.uint8))
MASKS = st.sampled_from([0, *range(2, 256)]).map(lambda shade: np.full((8, 16), shade, np.uint8))
LISTS = st.dictionaries(TEXTS, st.lists(TEXTS).map(tuple), max_size=3)
CONTROLS = st.builds(
    Control,
    file=st.from_regex(r"[\w-]{1,9}", fullmatch=True),
    preprocessor=st.sampled_from(["none", "canny", "recolour", "grey", "inpaint"]),
    weight=st.floats(0, 1e300),
    resize=st.sampled_from(RESIZES),
    start=UNIT,
    end=UNIT,
    mode=st.sampled_from(["balanced", "prompt", "control", "guess"]),
)
PROMPTS = st.builds(
    ImagePrompt, file=st.from_regex(r"[\w-]{1,9}", fullmatch=True), weight=st.floats(-10, 10)
)
WEIGHTS = st.floats(allow_nan=False, allow_infinity=False)
PAIRS = st.dictionaries(st.sampled_from(["unet", "text", "mid_block.resnets"]), WEIGHTS, min_size=1)
LORAS = st.tuples(st.from_regex(r"[\w-]{1,9}", fullmatch=True), WEIGHTS | PAIRS)
WORD = np.arange(6, dtype="float32").reshape(2, 3)


def write_word(folder: Path) -> Path:
    write_safetensors(folder / "easy.safetensors", {"emb_params": WORD})
    return folder / "easy.safetensors"


with tempfile.TemporaryDirectory() as _folder:
    EASY = read_embedding(write_word(Path(_folder)))
EMBEDDINGS = st.dictionaries(
    TEXTS.filter(str.strip),
    st.integers(1, 2).map(lambda n: Embedding((WORD[:n],), "a" * 64)),
    max_size=2,
)
VALUES = {
    "prompt": TEXTS,
    "negative_prompt": TEXTS,
    "prompt_syntax": st.sampled_from(["a1111", "plain"]),
    "emphasis": st.sampled_from(EMPHASES),
    "clip_skip": st.integers(1, 10**9),
    "wildcards": LISTS,
    "embeddings": EMBEDDINGS,
    "template": TEXTS.filter(bool),
    "negative_template": TEXTS.filter(bool),
    "width": st.integers(8, 99_999),
    "height": st.integers(8, 99_999),
    "count": st.integers(1, 10**9),
    "seed": st.integers(0, 2**64 - 1),
    "variation_seed": st.integers(0, 2**64 - 1),
    "variation_strength": UNIT,
    "seed_resize": st.tuples(*[st.integers(1, 9999).map(lambda n: 8 * n)] * 2),
    "model": st.sampled_from(["sd1.5", "someone/something", "v1-5, pruned: 'a' \"b\"", "猫"]),
    "dtype": st.sampled_from(["float32", "mixed_bfloat16"]),
    "quantize": st.just("int8"),
    "loras": st.lists(LORAS, max_size=3),
    "lora_folder": st.just("."),
    "decoder": st.just("tiny"),
    "refiner": st.sampled_from(["sdxl-base", "sdxl-refiner"]),
    "refiner_switch": st.floats(0, 1, exclude_min=True),
    "steps": st.integers(1, 10**9),
    "guidance": st.floats(0, 1e300),
    "distilled_guidance": st.floats(0, 1e300),
    "image_guidance": st.floats(0, 1e300),
    "sampler": st.sampled_from([*SAMPLERS]),
    "schedule": st.sampled_from([*SCHEDULES]),
    "timesteps": st.sets(st.integers(0, 10**9), min_size=1, max_size=5).map(tuple),
    "sampler_options": OPTIONS,
    "guidance_rescale": UNIT,
    "pag_scale": st.floats(0, 1e300),
    "apg": st.dictionaries(st.sampled_from(["eta", "momentum"]), st.floats(-1, 1)),
    "freeu": st.dictionaries(st.sampled_from(["s1", "s2", "b1", "b2"]), st.floats(0, 1e300)),
    "seamless": st.sampled_from(["x", "y", "both"]),
    "guidance_interval": st.tuples(UNIT, UNIT).filter(lambda pair: pair[0] < pair[1]),
    "feature_reuse": st.integers(1, 10**9),
    "token_merging": st.floats(0, 0.75),
    "image": PIXELS,
    "mask": MASKS,
    "strength": st.floats(0, 1, exclude_min=True),
    "mask_blur": st.floats(0, 512),
    "inpaint_area": st.sampled_from(["whole", "masked"]),
    "padding": st.integers(0, 10**9),
    "extend": st.dictionaries(st.sampled_from(SIDES), st.integers(0, 2**26)),
    "resize": st.sampled_from(RESIZES),
    "controls": st.lists(CONTROLS, max_size=3).map(tuple),
    "control_folder": st.just("."),
    "image_prompts": st.lists(PROMPTS, max_size=3).map(tuple),
    "upscale": st.floats(1, 8),
    "upscale_steps": st.integers(1, 10**6),
    "upscale_strength": st.floats(0, 1, exclude_min=True),
    "upscaler": st.sampled_from(["latent", "latent_nearest_exact", "esrgan", "lanczos"]),
    "safety": st.sampled_from(["flag", "blur"]),
    "image_name": TEXTS.filter(bool),
}
CONTROL = "edges:canny,weight=0.8"
# A value of each field that is not its default, and the same as it stands on a command line.
SAMPLES = {
    "negative_prompt": ("blurry,\nlow quality", "blurry,\nlow quality"),
    "prompt_syntax": ("plain", "plain"),
    "emphasis": ("no_norm", "No norm"),
    "clip_skip": (2, "2"),
    "wildcards": ({"colours/warm": ("red", "amber")}, "lists"),
    "embeddings": ({"easy": EASY}, "words"),
    "width": (24, "24"),
    "height": (16, "16"),
    "count": (3, "3"),
    "seed": (2**64 - 1, "18446744073709551615"),
    "variation_seed": (7, "7"),
    "variation_strength": (0.2, "0.2"),
    "seed_resize": ((24, 64), "24x64"),
    "model": ("sd1.5", "sd1.5"),
    "dtype": ("mixed_bfloat16", "mixed_bfloat16"),
    "quantize": ("int8", "int8"),
    "loras": ((("film", (("text", 0.5), ("unet", 0.8))),), "film:unet=0.8,text=0.5"),
    "lora_folder": (".", "."),
    "decoder": ("tiny", "tiny"),
    "refiner": ("sdxl-base", "sdxl-base"),
    "refiner_switch": (0.6, "0.6"),
    "steps": (20, "20"),
    "guidance": (7.5, "7.5"),
    "distilled_guidance": (8.5, "8.5"),
    "image_guidance": (1.5, "1.5"),
    "sampler": ("euler_a", "k_euler_ancestral"),
    "schedule": ("kl_optimal", "KL Optimal"),
    "timesteps": ((999, 499), "499, 999"),
    "sampler_options": ({"rho": 5, "eta": 0.5}, "eta=0.5,rho=5"),
    "guidance_rescale": (0.7, "0.7"),
    "pag_scale": (3.0, "3"),
    "apg": ({"eta": 0.5, "momentum": -0.75}, "momentum=-0.75,eta=0.5"),
    "freeu": ({}, "on"),
    "seamless": ("both", "True"),
    "guidance_interval": ((0.2, 0.8), "0.2:0.8"),
    "feature_reuse": (2, "2"),
    "token_merging": (0.5, "0.5"),
    "image": (IMAGE, "image.png"),
    "mask": (MASK, "mask.png"),
    "strength": (0.6, "0.6"),
    "mask_blur": (4.5, "4.5"),
    "inpaint_area": ("masked", "Only masked"),
    "padding": (16, "16"),
    "extend": ({"left": 8, "top": 16}, "top=16,left=8,right=0"),
    "resize": ("crop", "crop"),
    "controls": ((Control(file="edges", preprocessor="canny", weight=0.8),), CONTROL),
    "control_folder": (".", "."),
    "image_prompts": ((ImagePrompt(file="ip", image=IMAGE, weight=0.5),), "ip:image.png:0.5"),
    "upscale": (1.5, "1.5"),
    "upscale_steps": (7, "7"),
    "upscale_strength": (0.45, "0.45"),
    "upscaler": ("latent_bicubic", "Latent (bicubic)"),
    "safety": ("blur", "blur"),
}
# By the request itself
NOTED = {"template": "a {b|c}", "negative_template": "{d}", "image_name": "apple.png"}
FOLDERS = {"lora_folder": None, "control_folder": None}  # of this machine
NOT_IN_A_RECIPE = {"count", "image", "mask", "wildcards", "embeddings", *FOLDERS}
LEFT_OUT = {"count": 1, "image": None, "mask": None, "wildcards": {}, **FOLDERS}
LEFT_OUT |= {"embeddings": {}}
BARE = {"image_prompts": (ImagePrompt(file="ip", weight=0.5),)}  # as a recipe has the sample


@st.composite
def requests(draw):
    names = draw(st.sets(st.sampled_from([*VALUES])))
    # One item of a recipe stands for the strength of one pass or of the second.
    names -= {"strength"} if "upscale" in names else {"upscale_strength", "upscaler"}
    names -= set() if "upscale" in names else {"upscale_steps"}
    names -= set() if "refiner" in names else {"refiner_switch"}
    return Request(**{name: draw(VALUES[name]) for name in names | {"prompt"}})


def test_all_fields_are_tested():
    assert VALUES.keys() == specs(Request).keys()
    assert SAMPLES.keys() == VALUES.keys() - {"prompt"} - NOTED.keys()
    assert not {f"--{name.replace('_', '-')}" for name in NOTED} & {
        *COMMANDS["generate"].parser()._option_string_actions
    }


def test_examples():
    assert doctest.testmod(sys.modules[Request.__module__]).failed == 0


# The same request, whoever asks


def from_command_line(*arguments: str) -> Request:
    return read_arguments(COMMANDS["generate"].parser().read([*arguments])).request


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save("image.png", IMAGE)
    save("mask.png", np.repeat(MASK[..., None], 3, axis=-1))
    (tmp_path / "lists/colours").mkdir(parents=True)
    (tmp_path / "words").mkdir()
    write_word(tmp_path / "words")
    (tmp_path / "lists/colours/warm.txt").write_text("# warm\nred\n\namber\n")


@pytest.mark.parametrize("name", SAMPLES)
def test_each_field_is_the_same_from_all_ways(name, files):
    value, text = SAMPLES[name]
    asked = Request(prompt="a", **{name: value})
    assert asked != Request(prompt="a")
    flag = f"--{name.replace('_', '-')}"
    assert from_command_line("a", flag, text) == asked
    same = replace(asked, **FOLDERS)
    assert Request.from_json(json.loads(json.dumps(asked.to_json()))) == same
    if name in ("upscale_steps", "upscale_strength", "upscaler"):
        asked = replace(asked, upscale=2)
    if name == "refiner_switch":
        asked = replace(asked, refiner="sdxl-base")
    if name not in NOT_IN_A_RECIPE | {"width", "height"}:
        stated = replace(asked, **BARE) if name in BARE else asked
        assert Request.from_recipe(read_text(write_text(asked.recipe()))) == stated


def test_all_fields_are_the_same_from_all_ways(files):
    values = {name: value for name, (value, _) in SAMPLES.items()}
    asked = Request(prompt="a\nb", **values)
    same = replace(asked, **FOLDERS)
    assert Request.from_json(json.loads(json.dumps(asked.to_json()))) == same
    words = [(f"--{name.replace('_', '-')}", text) for name, (_, text) in SAMPLES.items()]
    assert from_command_line("a\nb", *(word for pair in words for word in pair)) == asked

    # A recipe does not hold how many pictures there were, nor pictures.
    recipe = read_text(write_text(asked.recipe()))
    others = {name: values[name] for name in NOT_IN_A_RECIPE | BARE.keys()}
    assert Request.from_recipe(recipe) == replace(asked, strength=None, **LEFT_OUT | BARE)
    others["strength"] = values["strength"]  # and a picture has no second pass
    one_pass = replace(asked, **dict.fromkeys(larger.FIELDS))
    assert Request.from_recipe(recipe, **others, width=24, height=16) == one_pass


@given(requests())
@settings(max_examples=200)
def test_json_gives_back_the_request(request):
    request = replace(request, **FOLDERS)
    again = Request.from_json(json.loads(json.dumps(request.to_json())))
    assert again == request
    assert hash(again) == hash(request)


@given(requests())
@settings(max_examples=200)
def test_a_recipe_gives_back_the_request(request):
    sides = {"width": None, "height": None} if not (request.width and request.height) else {}
    known = replace(request, **LEFT_OUT, **sides)
    known = replace(known, negative_prompt=request.negative_prompt or None)
    assert Request.from_recipe(read_text(write_text(request.recipe()))) == known


@given(requests(), st.sampled_from([*SAMPLES]))
@settings(max_examples=50)
def test_requests_that_differ_in_a_field_are_not_equal(request, name):
    value, _ = SAMPLES[name]
    changed = replace(request, **{name: value})
    same = all(np.array_equal(getattr(changed, n), getattr(request, n)) for n in VALUES)
    assert (changed == request) == same
    assert (changed.to_json() == request.to_json()) == (same or name in FOLDERS)


def test_a_refiner_that_is_not_here_is_left_open(tmp_path):
    items = {"Refiner": "sd_xl_refiner_1.0 [7440042bbd]", "Refiner switch at": "0.6"}
    recipe = Recipe("a", "", items)
    assert Request.from_recipe(recipe) == Request(prompt="a")
    assert Request.unread(recipe).keys() >= {"Refiner"}
    known = Request.from_recipe(Recipe("a", "", items | {"Refiner": "sdxl-refiner"}))
    assert (known.refiner, known.refiner_switch) == ("sdxl-refiner", 0.6)


def test_a_request_can_be_hashed_pickled_and_read():
    request = Request(prompt="a", image=IMAGE, sampler_options={"rho": 5}, steps=3)
    again = pickle.loads(pickle.dumps(request))
    assert again == request
    assert {request: 1}[again] == 1
    assert repr(request) == (
        "Request(prompt='a', steps=3, sampler_options={'rho': 5}, image=(16, 24, 3))"
    )
    assert Request(prompt="a", image=IMAGE) != Request(prompt="a", image=255 - IMAGE)
    assert Request(prompt="a") != "a"


def test_a_sampler_of_ones_own():
    euler = find_sampler("euler")
    assert Request(prompt="a", sampler=euler) == Request(prompt="a", sampler="euler")
    own = Sampler("own", "Own", euler.function)
    request = Request(prompt="a", sampler=own)
    assert request.sampler is own
    assert hash(request) == hash(Request(prompt="a", sampler=own))
    assert request != Request(prompt="a", sampler="euler")
    assert request.completed(MODEL).plan(MODEL).steps == 4
    assert request.recipe().items["Sampler"] == "Own"


# Values in their own types


@pytest.mark.parametrize(
    "number",
    [
        *(20.0, np.uint8(20), np.int64(20), np.float16(20), np.array(20), np.array(20.0)),
        *(Decimal(20), Fraction(20), ops.convert_to_tensor(20), ops.convert_to_tensor(20.0)),
    ],
)
def test_whole_numbers_of_any_type_are_whole_numbers(number):
    names = ("steps", "seed", "count", "feature_reuse")
    request = Request(prompt="a", **dict.fromkeys(names, number))
    for name in names:
        assert getattr(request, name) == 20
        assert type(getattr(request, name)) is int
    assert Request.from_json({"prompt": "a", "steps": 20.0}).steps == 20
    assert Request(prompt="a", guidance=number).guidance == 20


def test_a_large_whole_number_keeps_its_digits():
    for last in (2**64 - 1, np.uint64(2**64 - 1), Decimal(2**64 - 1)):
        assert Request(prompt="a", seed=last).seed == 2**64 - 1


def test_numbers_of_numpy_are_numbers():
    asked = Request(
        prompt="a",
        steps=np.int64(20),
        seed=np.uint64(2**64 - 1),
        guidance=np.float32(7.5),
        guidance_interval=[np.float64(0.25), np.array(1)],
        sampler_options={"eta": np.float64(0.5), "order": np.int32(2)},
        strength=1,
    )
    plain = Request(
        prompt="a",
        steps=20,
        seed=2**64 - 1,
        guidance=7.5,
        guidance_interval=(0.25, 1.0),
        sampler_options={"order": 2, "eta": 0.5},
        strength=1.0,
    )
    assert asked == plain
    assert repr(asked) == repr(plain)
    json.dumps(asked.to_json())


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("DPM++ 2M Karras", ("dpmpp_2m", "karras")),
        ("Euler a SGM Uniform", ("euler_a", "sgm_uniform")),
        ("DPMSolverMultistepScheduler", ("dpmpp_2m", None)),
    ],
)
def test_samplers_by_any_name(given, kept):
    request = Request(prompt="a", sampler=given)
    assert (request.sampler, request.schedule) == kept
    assert Request(prompt="a", sampler=given, schedule="beta").schedule == "beta"
    assert Request(prompt="a", sampler=given, schedule="Automatic").schedule == kept[1]


def test_pictures_in_any_form(files):
    forms = (IMAGE, IMAGE.astype("float32"), "image.png", Image.fromarray(IMAGE))
    assert len({Request(prompt="a", image=image) for image in forms}) == 1
    half = MASK > 127
    forms = (half, half.astype("float32"), np.uint8(255) * half, Image.fromarray(half))
    assert len({Request(prompt="a", mask=mask) for mask in forms}) == 1
    kept = Request(prompt="a", image=IMAGE.copy()).image
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 0


def test_black_is_black_in_any_range():
    black = np.zeros((8, 16, 3))
    assert not Request(prompt="a", image=black).image.any()
    nearly = np.eye(16, dtype="uint8")[:8, :, None].repeat(3, axis=-1)  # of 0 and 1, as uint8
    assert (Request(prompt="a", image=nearly).image == nearly).all()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("image", IMAGE / 255, "float64 of 0..1 is nearly black: multiply it by 255"),
        ("image", IMAGE / 127.5 - 1, r"values from -1.0 to [\d.]+ are not in 0..255"),
        ("mask", MASK // 128, "values of 0..1 as uint8 paint nothing: multiply them by 255"),
        ("mask", MASK / 1.0, r"values from [\d.]+ to [\d.]+ are not in 0..1"),
    ],
)
def test_pixels_that_are_refused_say_why(name, value, reason):
    with pytest.raises(RequestError, match=rf"^`{name}` must be .* Received: {name}: {reason}$"):
        Request(prompt="a", **{name: value})


NAN = float("nan")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("prompt", [None, 5, b"a", ["a"]]),
        ("negative_prompt", [5, ["a"]]),
        ("width", [0, 7, 64.5, "64", True, NAN]),
        ("height", [-8, "64", False, np.array("64"), np.str_("64"), [64]]),
        ("count", [None, 0, 1.5, True, "2", NAN, np.True_, np.array([1]), np.complex64(1)]),
        ("seed", [-2, 2**64, 1.5, "1", True, np.float32(0.1), 1j, Fraction(1, 2), object()]),
        ("variation_seed", [-2, 2**64, 1.5, "1", True]),
        ("variation_strength", [None, -0.1, 1.1, NAN, "1", True]),
        ("seed_resize", [64, "64x64", (64,), (64, 60), (0, 64), (64, 100_000), (64, "64")]),
        ("seamless", ["z", 1, 0, ["x", "y"]]),
        ("model", [5]),
        ("dtype", ["float8", 5]),
        ("quantize", ["int4", True]),
        ("steps", [0, -1, 3.7, "20", True, NAN, float("inf"), np.array([1, 2])]),
        ("guidance", [-0.1, NAN, float("inf"), 10**400, "7", True, np.array([1.0, 2.0]), 1j]),
        ("sampler", ["magic", 5, SCHEDULES["karras"]]),
        ("schedule", ["magic", 5, find_sampler("euler")]),
        ("timesteps", [5, "5", (), (1, 1), (-1,), (1.5,), ("1",), [True], {5: 4}]),
        ("sampler_options", [None, 5, "eta=1", {1: 2}, {"a b": 1}, {"eta": None}, {"eta": True}]),
        ("sampler_options", [{"eta": np.array([1, 2])}, {"eta": []}, {"": 1}, {"eta": ""}]),
        ("sampler_options", [{"eta": NAN}, {"eta": "a,b"}, {"eta": "nan"}, [("eta", 1)]]),
        ("guidance_rescale", [None, -0.1, 1.1, NAN, "1", True]),
        ("pag_scale", [None, -1, NAN, "3"]),
        ("apg", ["yes", 5, {"eta": NAN}, {"eta": "a"}, {"momentum": 2}, {"b1": 1}, (0, 1)]),
        ("freeu", ["yes", 5, {"b1": -1}, {"eta": 1}, (1, 1, 1), MASK]),
        ("guidance_interval", [None, (0.8, 0.2), (0.5, 0.5), (0, 1, 1), "01", (0, NAN), (0, "1")]),
        ("feature_reuse", [None, 0, 1.5, True]),
        ("token_merging", [None, -0.1, 0.8, NAN]),
        ("image", [5, IMAGE[None], IMAGE[..., :2], IMAGE / 255 - 1, IMAGE[:0], "".join]),
        ("image", [IMAGE / 255, (IMAGE / 255).astype("float16"), IMAGE > 127, IMAGE * NAN]),
        ("mask", [5, IMAGE, 2.0 * np.ones((8, 8)), MASK[:0], MASK * NAN, MASK // 128]),
        ("mask", [Image.fromarray(MASK // 128), np.full((8, 8), 1 / 255)]),
        ("strength", [0, -1, 1.1, NAN, "1", True]),
        ("mask_blur", [None, -1, NAN, 513, "4"]),
        ("inpaint_area", [None, "Only masked", 5]),
        ("padding", [None, -1, 0.5]),
        ("extend", [None, {"up": 8}, {"left": -8}, {"left": 0.5}, {"left": 10**9}, {"left": "a"}]),
        ("resize", ["squeeze", 5]),
        ("image_name", [5]),
    ],
)
def test_what_cannot_be_is_refused_by_name(name, values):
    for value in values:
        with pytest.raises(RequestError) as refused:
            Request(**{"prompt": "a", name: value})
        assert refused.value.name == name
        assert str(refused.value).startswith(f"`{name}` must ")
        assert isinstance(refused.value, ValueError)


def test_rules_of_guidance():
    model = FakeSettings(family=find_family(2048, sizes=True))
    for on in (True, "on", {}):
        done = Request(prompt="a", freeu=on, apg=on).completed(model)
        assert done.freeu == {"s1": 0.9, "s2": 0.2, "b1": 1.3, "b2": 1.4}
        assert done.apg == {"eta": 0, "momentum": -0.5, "norm_threshold": 15}
        assert done.completed(FakeSettings(family=find_family())) == done
    for off in (False, "off", None):
        assert Request(prompt="a", freeu=off, apg=off) == Request(prompt="a")
    some = Request(prompt="a", freeu=(0.9, 0.2, 1.1, 1.2), apg={"momentum": 0}).completed(model)
    assert [*some.freeu.items()] == [("s1", 0.9), ("s2", 0.2), ("b1", 1.1), ("b2", 1.2)]
    assert [*some.apg.values()] == [0, 0, 15]

    keys = {
        Request(prompt="a", **rule).completed(model).shape_key
        for rule in (
            {},
            {"freeu": "on"},
            {"freeu": (1, 1, 1, 1)},
            {"apg": "on"},
            {"apg": (1, 0, 0)},
        )
    }
    assert len(keys) == 3
    bare = SimpleNamespace(unet_config=lambda: SimpleNamespace(mid=(0, 0)))
    with pytest.raises(RequestError, match="`pag_scale` must be 0 for a model without attention"):
        Request(prompt="a", pag_scale=3).completed(FakeSettings(checkpoint=bare))


def test_errors_can_be_pickled():
    with pytest.raises(RequestError) as refused:
        Request(prompt="a", steps=0)
    message = "`steps` must be a whole number from 1. Received: steps=0"
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value) == message


# JSON of strangers


def url(content: bytes, head: str = "data:image/png;base64,") -> str:
    return head + base64.b64encode(content).decode()


def test_json_names_no_files(files, monkeypatch):
    for name in ("image", "mask"):
        for path in ("image.png", "/etc/passwd", "file:///etc/passwd", "http://localhost/a.png"):
            with pytest.raises(RequestError) as refused:
                Request.from_json({"prompt": "a", name: path})
            assert refused.value.name == name
    # A model is a name, and nothing looks for it.
    monkeypatch.setattr("pathlib.Path.exists", None)
    assert Request.from_json({"prompt": "a", "model": "/etc/passwd"}).model == "/etc/passwd"


@pytest.mark.parametrize("file_format", ["png", "jpeg", "webp"])
def test_json_has_pictures_as_data_urls(file_format):
    file = io.BytesIO()
    Image.fromarray(IMAGE).save(file, file_format)
    request = Request.from_json(
        {"prompt": "a", "image": url(file.getvalue(), f"data:image/{file_format};base64,")}
    )
    decoded = np.asarray(Image.open(file).convert("RGB"))
    assert np.array_equal(request.image, decoded)
    assert Request.from_json(request.to_json()) == request


@pytest.mark.parametrize(
    "text",
    [
        *("", "data:image/png;base64,", "data:image/png;base64,????", "data:image/png,abc", 5, []),
        *(url(b"no picture"), url(b"\x89PNG\r\n\x1a\n"), url(b"BM", "data:image/bmp;base64,")),
        url(b"GIF89a", "data:text/plain;base64,"),
    ],
)
def test_json_with_no_picture_is_refused(text):
    with pytest.raises(RequestError, match="`image` must"):
        Request.from_json({"prompt": "a", "image": text})


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": "a", "magic": 1}, "Request"),
        ({"prompt": "a", "__class__": 1}, "Request"),
        ({"prompt": "a", "steps": "20"}, "steps"),
        ({"prompt": "a", "count": None}, "count"),
        ({"prompt": "a", "guidance_interval": [0]}, "guidance_interval"),
        ({"prompt": "a", "sampler": {"name": "euler"}}, "sampler"),
    ],
)
def test_json_that_says_what_cannot_be_is_refused_by_name(values, name):
    with pytest.raises(RequestError) as refused:
        Request.from_json(values)
    assert refused.value.name == name


# Recipes


def test_a_recipe_of_another_program():
    items = {"Steps": "20", "Sampler": "DPM++ 2M Karras", "CFG scale": "7", "Seed": "1"}
    items |= {"Clip skip": "2", "Emphasis": "No norm"}
    others = {"Model hash": "45dee52b", "Version": "v1.10.1"}
    recipe = Recipe("a", "b", items | others | {"Size": "24x16", "Model": "v1-5-pruned"})
    assert Request.from_recipe(recipe) == Request(
        prompt="a",
        negative_prompt="b",
        clip_skip=2,
        emphasis="no_norm",
        width=24,
        height=16,
        seed=1,
        model="v1-5-pruned",
        steps=20,
        guidance=7,
        sampler="dpmpp_2m",
        schedule="karras",
    )
    assert Request.unread(recipe) == others


def test_changes_of_a_recipe():
    items = {"Steps": "0", "Sampler": "Euler", "Schedule type": "Beta", "Size": "24x16"}
    recipe = Recipe("a", "b", items)
    with pytest.raises(RequestError) as refused:
        Request.from_recipe(recipe)
    assert str(refused.value) == "`steps` must be a whole number from 1. Received: 0"
    assert Request.from_recipe(recipe, steps=3).schedule == "beta"
    changed = Request.from_recipe(recipe, steps=3, sampler="lms", negative_prompt=None, width=8)
    assert changed == Request(prompt="a", steps=3, sampler="lms", width=8, height=16)
    pictured = Request.from_recipe(recipe, steps=3, image=IMAGE)
    assert (pictured.width, pictured.height) == (None, None)
    with pytest.raises(RequestError, match="`Request` must have fields among"):
        Request.from_recipe(recipe, magic=1)


def test_a_second_pass_is_another_request():
    items = {"Steps": "2", "Denoising strength": "0.5"}
    assert Request.from_recipe(Recipe("a", "", items)).strength == 0.5
    hires = Recipe("a", "", items | {"Hires upscale": "2"})
    assert Request.from_recipe(hires).strength is None
    assert Request.from_recipe(hires).upscale == 2
    assert Request.from_recipe(hires).upscale_strength == 0.5
    assert Request.unread(hires) == {}


@pytest.mark.parametrize(
    "items",
    [
        {"Seed": "-1"},
        {"Sampler": "Default"},
        {"Sampler": "NONE", "Schedule type": "None"},
        {"Schedule type": "Automatic"},
        {"Clip skip": "-1"},
    ],
)
def test_a_choice_that_was_left_open_is_left_open(items):
    recipe = Recipe("a", "", items)
    assert Request.from_recipe(recipe) == Request(prompt="a")
    assert Request.unread(recipe) == {}
    for wrong in ({"Seed": "-2"}, {"Steps": "-1"}):
        with pytest.raises(RequestError):
            Request.from_recipe(Recipe("a", "", wrong))


@pytest.mark.parametrize(
    "items", [{"Sampler": "DPM fast"}, {"Schedule type": "x"}, {"Sampler": "x", "ENSD": "1"}]
)
def test_a_sampler_that_we_do_not_have_is_left_open_and_said(items):
    recipe = Recipe("a", "", items)
    assert Request.from_recipe(recipe) == Request(prompt="a")
    assert Request.unread(recipe) == items
    known = Recipe("a", "", items | {"Sampler": "DPM2 a Exponential", "Schedule type": "beta"})
    assert Request.from_recipe(known).sampler == "dpm2_a"
    assert Request.unread(known) == {k: v for k, v in items.items() if k == "ENSD"}


@pytest.mark.parametrize("size", ["8", "8x", "8x16x8", "-8x16", "9" * 5000 + "x8"])
def test_a_size_that_is_none_is_not_read(size):
    recipe = Recipe("a", "", {"Size": size})
    assert Request.from_recipe(recipe) == Request(prompt="a")
    assert Request.unread(recipe) == {"Size": size}


def test_a_recipe_of_a_local_model_keeps_its_folder_to_itself(tmp_path):
    for name, public in (("own", "own"), ("sd1.5", "./sd1.5")):
        (tmp_path / name).mkdir()
        items = Request(prompt="a", model=str(tmp_path / name)).recipe().items
        assert items["Model"] == public
    for name in ("sd1.5", "someone/something", "~nobody-here/x", "x" * 999, "\0"):
        assert Request(prompt="a", model=name).recipe().items["Model"] == name


# The completed request


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


# What pictures may share


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
