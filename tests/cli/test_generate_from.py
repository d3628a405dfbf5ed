"""`sfumato generate --from`: a picture made again from its recipe."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sfumato.pictures import Recipe, load_recipe, save


def painted(path, **items):
    """Save a picture whose recipe has these items, and others so that there are enough."""
    save(path, np.zeros((8, 8, 3), "uint8"), Recipe("a", "", {"Steps": "1", "Seed": "1"} | items))


class TestFrom:
    """`--from FILE` makes the picture again."""

    original = (
        *("generate", "a", "--negative", "b", "--model", "sd1.5", "--size", "24x32"),
        *("--steps", "3", "--guidance", "2.5", "--guidance-rescale", "0.25"),
        *("--sampler", "euler_a", "--sampler-options", "eta=0.5", "--schedule", "beta"),
        *("--seed", "9", "--dtype", "bfloat16", "--quantize", "int8", "-o", "1.png"),
        *("--guidance-interval", "0.25:1", "--feature-reuse", "2", "--token-merging", "0.5"),
    )

    def test_everything_is_as_before(self, sfumato, model):
        sfumato(*self.original)
        loaded, model.loaded, model.quantized = model.loaded, [], None
        assert sfumato("generate", "--from", "1.png", "-o", "2.png").code == 0
        assert (model.loaded, model.quantized) == (loaded, "int8")
        before, again = model.requests
        assert again == before
        assert load_recipe("2.png") == load_recipe("1.png")
        assert Path("2.png").read_bytes() == Path("1.png").read_bytes()

    def test_options_change_it(self, sfumato, model):
        sfumato(*self.original)
        changes = ("--steps", "5", "--guidance", "0", "--seed", "0", "--sampler", "lms", "-n", "2")
        other = ("--sampler-options", "order=2")
        assert sfumato("generate", "c", "--from", "1.png", *changes, *other).code == 0
        before, again = model.requests[:2]
        # Another sampler comes with its own schedule; all else is as it was.
        options = {"sampler": "lms", "schedule": "uniform", "sampler_options": {"order": 2}}
        changed = {"prompt": "c", "steps": 5, "guidance": 0, "seed": 0, **options}
        changed["negative_prompt"] = None  # which says nothing without guidance
        assert again == replace(before, **changed)

    def test_the_options_that_save_work_can_be_switched_off(self, sfumato, model):
        sfumato(*self.original)
        off = ("--guidance-interval", "0:1", "--feature-reuse", "1", "--token-merging", "0")
        assert sfumato("generate", "--from", "1.png", *off).code == 0
        request = model.requests[1]
        assert (request.guidance_interval, request.feature_reuse) == ((0.0, 1.0), 1)
        assert request.token_merging == 0

    def test_sizes_change_it(self, sfumato, model):
        sfumato(*self.original)
        for size in (("--size", "square"), ("--width", "16"), ("--size", "16x8")):
            assert sfumato("generate", "--from", "1.png", *size).code == 0
        sizes = [(request.width, request.height) for request in model.requests]
        assert sizes == [(24, 32), (16, 16), (16, 32), (16, 8)]

    @pytest.mark.parametrize(
        ("stated", "message"),
        [
            ({"Steps": "0"}, "`steps` must be a whole number from 1. Received: 0"),
            ({"Steps": "1001"}, "`steps` must be from 1 to 1000. Received: steps=1001"),
            ({"CFG scale": "-1.0"}, "`guidance` must be a number from 0. Received: -1.0"),
            ({"CFG scale": "nan"}, "`guidance` must be a number from 0. Received: nan"),
            ({"Seed": str(2**64)}, "15, or -1 for any. Received: 18446744073709551616"),
            ({"Seed": "9" * 5000}, "`seed` must be a whole number"),
            ({"Size": "500x8"}, "`width` must be a multiple of 8. Received: width=500"),
            ({"Precision": "float8"}, "`dtype` must be one of float32"),
            ({"Quantization": "int4"}, "`quantize` must be one of int8. Received: int4"),
            ({"Feature reuse": "-2"}, "a whole number from 1. Received: -2"),
        ],
    )
    def test_a_recipe_that_says_what_cannot_be(self, sfumato, model, stated, message):
        painted("1.png", **stated)
        done = sfumato("generate", "--from", "1.png")
        assert (done.code, model.requests) == (1, [])
        assert done.err.startswith("sfumato: error: the recipe says what cannot be: `")
        assert message in done.err

    def test_what_an_option_replaces_may_be_anything(self, sfumato, model):
        painted("1.png", Steps="0", Seed=str(2**64), Model="x")
        options = ("--steps", "1", "--seed", "2", "--model", "mini")
        assert sfumato("generate", "--from", "1.png", *options).code == 0

    @pytest.mark.parametrize(
        "name", ["someone/something", "v1-5-pruned", "~nobody-here/x", "x" * 999]
    )
    def test_a_model_is_not_fetched_because_a_picture_names_it(self, sfumato, model, name):
        painted("1.png", Model=name)
        done = sfumato("generate", "--from", "1.png")
        assert (done.code, model.loaded) == (2, [])
        assert f"name it with --model. Received: {name}" in done.err
        Path("own.safetensors").touch()
        painted("2.png", Model="own.safetensors")
        assert sfumato("generate", "--from", "2.png").code == 0

    @pytest.mark.parametrize("name", ["//server/x", r"\\server\x", r"\\?\UNC\server\x"])
    def test_a_path_on_another_machine_is_not_looked_at(self, sfumato, model, monkeypatch, name):
        def forbidden(*arguments, **options):
            raise AssertionError("looked there")

        monkeypatch.setattr("sfumato.checkpoints.hub.resolve", forbidden)
        painted("1.png", Model=name)
        done = sfumato("generate", "--from", "1.png")
        assert done.code == 2
        assert "name it with --model" in done.err

    def test_a_sampler_that_names_its_schedule(self, sfumato, model):
        painted("1.png", Sampler="DPM2 a Exponential")
        assert sfumato("generate", "--from", "1.png").code == 0
        assert sfumato("generate", "--from", "1.png", "--schedule", "beta").code == 0
        asked = [(request.sampler, request.schedule) for request in model.requests]
        assert asked == [("dpm2_a", "exponential"), ("dpm2_a", "beta")]

    def test_a_second_pass(self, sfumato, model):
        hires = {"Hires upscale": "2", "Hires upscaler": "Latent", "Denoising strength": "0.6"}
        painted("1.png", **hires)
        done = sfumato("generate", "--from", "1.png")
        (asked,) = model.requests
        assert (done.code, done.err, asked.strength) == (0, "", None)
        assert (asked.upscale, asked.upscaler, asked.upscale_strength) == (2, "latent", 0.6)

    def test_an_upscaler_of_another_program(self, sfumato, model):
        painted("1.png", **{"Hires upscale": "2", "Hires upscaler": "4x-UltraSharp"})
        done = sfumato("generate", "--from", "1.png")
        assert (done.code, model.requests[0].upscaler) == (0, "latent")
        assert "not used from the recipe of 1.png: Hires upscaler 4x-UltraSharp\n" in done.err
        assert sfumato("generate", "--from", "1.png", "--upscaler", "esrgan").code == 0
        assert model.requests[1].upscaler == "esrgan"

    def test_a_second_pass_is_none_of_a_given_picture(self, sfumato, model):
        painted("1.png", **{"Steps": "4", "Hires upscale": "2", "Denoising strength": "0.6"})
        assert sfumato("generate", "--from", "1.png", "--image", "1.png").code == 0
        assert model.requests[0].upscale is None

    def test_a_picture_of_another_program(self, sfumato, model):
        stated = {"Steps": "20", "Sampler": "Euler a", "Schedule type": "Automatic", "Seed": "1"}
        stated |= {"Size": "8x16", "Model": "sd1.5", "ENSD": "31337", "RNG": "CPU"}
        painted("1.png", **stated | {"Model hash": "45dee52b", "Version": "v1.10.1"})
        done = sfumato("generate", "--from", "1.png")
        assert done.code == 0
        (request,) = model.requests
        assert (request.schedule, request.width, request.height) == ("uniform", 8, 16)
        assert done.err.splitlines() == [
            "sfumato: warning: not used from the recipe of 1.png: ENSD 31337",
            "sfumato: warning: 1.png was made from other random numbers; the picture will differ",
        ]

    @pytest.mark.parametrize(
        ("stated", "ours"),
        [
            ({}, True),
            ({"RNG": "NV"}, True),
            ({"RNG": "GPU"}, True),
            ({"RNG": "cuda", "Version": "stable-diffusion.cpp"}, True),
            ({"RNG": "CPU"}, False),
            ({"RNG": "std_default", "Version": "stable-diffusion.cpp"}, False),
            ({"Version": "ComfyUI"}, False),
        ],
    )
    def test_random_numbers_of_other_programs(self, sfumato, model, stated, ours):
        painted("1.png", **stated)
        done = sfumato("generate", "--from", "1.png")
        assert done.code == 0
        assert ("made from other random numbers" not in done.err) == ours

    @pytest.mark.parametrize(
        ("key", "name"),
        [("Sampler", "euler_cfg_pp"), ("Sampler", "DPM fast"), ("Schedule type", "x")],
    )
    def test_a_name_that_is_not_known_is_named(self, sfumato, model, key, name):
        painted("1.png", **{key: name})
        done = sfumato("generate", "--from", "1.png")
        assert done.code == 0
        warning = f"not used from the recipe of 1.png: {key} {name}"
        assert done.err == f"sfumato: warning: {warning}\n"
        (request,) = model.requests
        assert (request.sampler, request.schedule) == ("dpmpp_2m", "sgm_uniform")  # the model's

    def test_a_prompt_with_networks_of_another_program(self, sfumato, model):
        prompt = "a cat <lora:sharp:0.8>, (red:1.3) <hypernet:soft:1>"
        items = {"Steps": "1", "Seed": "1", "CFG scale": "2"}
        save("1.png", np.zeros((8, 8, 3), "uint8"), Recipe(prompt, "[x|y]", items))
        done = sfumato("generate", "--from", "1.png")
        assert done.code == 0
        assert "painted as words" in done.err
        assert done.err.endswith(": <lora:sharp:0.8>, <hypernet:soft:1>\n")
        assert "painted as words" in sfumato("generate", "a", "--negative", "<lora:x:1>").err
        Path("loras").mkdir()
        Path("loras/sharp.safetensors").write_bytes(b"{}")
        done = sfumato("generate", "--from", "1.png", "--lora-folder", "loras")
        assert done.err.endswith("--lora-folder: <hypernet:soft:1>\n")
        [single] = model.requests[-1].singles()
        assert single.prompt == "a cat, (red:1.3) <hypernet:soft:1>"
        assert single.loras == ((str(Path("loras/sharp.safetensors")), 0.8),)
        for plain in ("a cat (on a mat), (red:1.3)", "[a:b:0.5]", "a < b: c > d", "<my-cat>"):
            assert sfumato("generate", plain).err == ""

    def test_a_recipe_in_another_form(self, sfumato, model):
        said = {"prompt": "a (cat:1.2)", "steps": 3, "seed": 5, "sampler": "heunpp2", "cfgscale": 2}
        said |= {"scheduler": "simple", "refinermethod": "PostApply", "swarm_version": "0.9.3.1"}
        chunks = PngInfo()
        chunks.add_text("parameters", json.dumps({"sui_image_params": said}))
        Image.new("RGB", (8, 8)).save("1.png", pnginfo=chunks)
        done = sfumato("generate", "--from", "1.png")
        unused, noise = done.err.splitlines()
        assert unused.endswith("recipe of 1.png: Sampler heunpp2, refinermethod PostApply")
        assert noise.endswith("1.png was made from other random numbers; the picture will differ")
        (request,) = model.requests
        assert (request.prompt, request.seed, request.guidance) == ("a (cat:1.2)", 5, 2)
        assert (request.schedule, request.emphasis) == ("simple", "comfyui")

    def test_a_recipe_in_a_form_that_is_not_read(self, sfumato, model):
        chunks = PngInfo()
        chunks.add_text("parameters", '{"sui_image_params": {"prompt": "a cat"')
        Image.new("RGB", (8, 8)).save("1.png", pnginfo=chunks)
        for command in (("info",), ("generate", "--from")):
            done = sfumato(*command, "1.png")
            assert (done.code, done.out, model.requests) == (1, "", [])
            assert "carries a recipe of SwarmUI, which is not read (" in done.err

    def test_no_recipe(self, sfumato, model):
        save("1.png", np.zeros((8, 8, 3), "uint8"))
        done = sfumato("generate", "--from", "1.png")
        assert (done.code, done.err) == (1, "sfumato: error: 1.png carries no recipe\n")

    def test_a_picture_made_from_a_picture(self, sfumato, model):
        painted("1.png", **{"Steps": "2", "Denoising strength": "0.5", "Size": "8x8"})
        done = sfumato("generate", "--from", "1.png")
        assert (done.code, model.loaded) == (1, [])
        assert "1.png was made from another picture" in done.err
        assert "name it with --image" in done.err
        save("other.png", np.ones((16, 24, 3), "uint8"))
        assert sfumato("generate", "--from", "1.png", "--image", "other.png").code == 0
        (request,) = model.requests
        # The other picture has its own size.
        assert (request.strength, request.width, request.height) == (0.5, 24, 16)


@pytest.mark.parametrize(
    ("key", "said", "option"),
    [
        ("ControlNet 0", "Module: canny, Model: edges, Weight: 1", "--control"),
        ("Image prompt 0", "Model: ip [0123456789ab], Image: 00, Weight: 0.6", "--image-prompt"),
    ],
)
def test_pictures_that_networks_are_shown_are_asked_for(sfumato, model, key, said, option):
    """A recipe does not hold them; given again, they are taken."""
    painted("led.png", **{key: said})
    done = sfumato("generate", "--from", "led.png")
    assert (done.code, model.requests) == (1, [])
    assert done.err.strip().endswith(f"its recipe does not hold; name them with {option}")
    Path("net.safetensors").write_bytes(bytes(16))
    given = f"{option}=net.safetensors:led.png"
    assert sfumato("generate", "--from", "led.png", given).code == 0
    [request] = model.requests
    [shown] = request.controls or request.image_prompts
    assert shown.image.shape == (8, 8, 3)
