"""Values of a request in their own types, and those that are refused by name."""

from __future__ import annotations

import json
import pickle
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from keras import ops
from PIL import Image
from request_samples import IMAGE, MASK

from fake_models import FakeSettings
from sfumato.diffusion import SCHEDULES, find_sampler
from sfumato.presets.families import find_family
from sfumato.request import Request, RequestError


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
