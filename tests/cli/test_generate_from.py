"""`sfumato generate --from`: a picture made again from its recipe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sfumato.pictures import Recipe, load_recipe, save


class TestFrom:
    """`--from FILE` makes the picture again."""

    original = (
        *(
            "generate",
            "a",
            "--negative",
            "b",
            "--model",
            "sd1.5",
            "--size",
            "24x32",
            "--steps",
            "3",
        ),
        *("--guidance", "2.5", "--sampler", "euler_a", "--schedule", "beta", "--seed", "9"),
        *("--dtype", "bfloat16", "--quantize", "int8", "-o", "1.png"),
        *("--guidance-interval", "0.25:1", "--feature-reuse", "2", "--token-merging", "0.5"),
    )

    def test_everything_is_as_before(self, sfumato, pipeline):
        sfumato(*self.original)
        loaded, pipeline.quantized = pipeline.loaded, None
        assert sfumato("generate", "--from", "1.png", "-o", "2.png").code == 0
        assert (pipeline.loaded, pipeline.quantized) == (loaded, "int8")
        before, again = pipeline.calls
        del before["on_step"], again["on_step"]
        assert again == before
        assert load_recipe("2.png") == load_recipe("1.png")
        assert Path("2.png").read_bytes() == Path("1.png").read_bytes()

    def test_options_change_it(self, sfumato, pipeline):
        sfumato(*self.original)
        changes = ("--steps", "5", "--guidance", "0", "--seed", "0", "--sampler", "lms", "-n", "2")
        assert sfumato("generate", "c", "--from", "1.png", *changes).code == 0
        call = pipeline.calls[1]
        assert (call["prompt"], call["num_steps"], call["seed"]) == ("c", 5, 0)
        assert call["unconditional_guidance_scale"] == 0
        # Another sampler comes with its own schedule; all else is as it was.
        assert (call["sampler"], call["schedule"]) == ("lms", "uniform")
        assert call["negative_prompt"] == "b"

    def test_the_options_that_save_work_can_be_switched_off(self, sfumato, pipeline):
        sfumato(*self.original)
        off = ("--guidance-interval", "0:1", "--feature-reuse", "1", "--token-merging", "0")
        assert sfumato("generate", "--from", "1.png", *off).code == 0
        call = pipeline.calls[1]
        assert (call["guidance_interval"], call["feature_reuse"]) == ((0.0, 1.0), 1)
        assert call["token_merging"] == 0

    @pytest.mark.parametrize(
        ("stated", "message"),
        [
            ({"steps": 0}, "--steps: must be a whole number from 1. Received: 0"),
            ({"guidance": -1.0}, "--guidance: must be a number from 0. Received: -1.0"),
            ({"seed": 2**64}, "to 18446744073709551615. Received: 18446744073709551616"),
            ({"width": 500, "height": 8}, "must be multiples of 8. Received: 500x8"),
            ({"extra": {"Precision": "float8"}}, "--dtype: invalid choice: 'float8'"),
            ({"extra": {"Quantization": "int4"}}, "--quantize: invalid choice: 'int4'"),
            ({"extra": {"Feature reuse": "-2"}}, "a whole number from 1. Received: -2"),
        ],
    )
    def test_a_recipe_that_says_what_cannot_be(self, sfumato, pipeline, stated, message):
        save("1.png", np.zeros((8, 8, 3), "uint8"), Recipe("a", **stated))
        done = sfumato("generate", "--from", "1.png")
        assert (done.code, hasattr(pipeline, "loaded")) == (1, False)
        assert message in done.err

    def test_what_an_option_replaces_may_be_anything(self, sfumato, pipeline):
        save("1.png", np.zeros((8, 8, 3), "uint8"), Recipe("a", steps=0, seed=2**64, model="x"))
        options = ("--steps", "1", "--seed", "2", "--model", "mini")
        assert sfumato("generate", "--from", "1.png", *options).code == 0

    @pytest.mark.parametrize(
        "model", ["someone/something", "v1-5-pruned", "~nobody-here/x", "x" * 999]
    )
    def test_a_model_is_not_fetched_because_a_picture_names_it(self, sfumato, pipeline, model):
        save("1.png", np.zeros((8, 8, 3), "uint8"), Recipe("a", steps=1, seed=1, model=model))
        done = sfumato("generate", "--from", "1.png")
        assert (done.code, hasattr(pipeline, "loaded")) == (2, False)
        assert f"name it with --model. Received: {model}" in done.err
        Path("own.safetensors").touch()
        save("2.png", np.zeros((8, 8, 3), "uint8"), Recipe("a", model="own.safetensors"))
        assert sfumato("generate", "--from", "2.png").code == 0

    @pytest.mark.parametrize("model", ["//server/x", r"\\server\x", r"\\?\UNC\server\x"])
    def test_a_path_on_another_machine_is_not_looked_at(
        self, sfumato, pipeline, monkeypatch, model
    ):
        def forbidden(*arguments, **options):
            raise AssertionError("looked there")

        monkeypatch.setattr("sfumato.checkpoints.hub.resolve", forbidden)
        save("1.png", np.zeros((8, 8, 3), "uint8"), Recipe("a", steps=1, seed=1, model=model))
        done = sfumato("generate", "--from", "1.png")
        assert done.code == 2
        assert "name it with --model" in done.err

    def test_a_sampler_that_names_its_schedule(self, sfumato, pipeline):
        recipe = Recipe("a", steps=1, seed=1, sampler="DPM2 a Exponential")
        save("1.png", np.zeros((8, 8, 3), "uint8"), recipe)
        assert sfumato("generate", "--from", "1.png").code == 0
        assert sfumato("generate", "--from", "1.png", "--schedule", "beta").code == 0
        asked = [(call["sampler"], call["schedule"]) for call in pipeline.calls]
        assert asked == [("dpm2_a", "exponential"), ("dpm2_a", "beta")]

    def test_a_second_pass_is_left_out_with_a_warning(self, sfumato, pipeline):
        extra = {"Hires upscale": "2", "Hires upscaler": "Latent"}
        recipe = Recipe("a", steps=1, seed=1, strength=0.7, extra=extra)
        save("1.png", np.zeros((8, 8, 3), "uint8"), recipe)
        done = sfumato("generate", "--from", "1.png")
        assert done.code == 0
        assert "not used from the recipe of 1.png: Hires upscale, Hires upscaler" in done.err

    def test_a_picture_of_another_program(self, sfumato, pipeline):
        recipe = Recipe(
            "a",
            steps=20,
            sampler="Euler a",
            schedule="Automatic",
            seed=1,
            width=8,
            height=16,
            model="sd1.5",
            extra={"Clip skip": "2", "RNG": "CPU"},
        )
        save("1.png", np.zeros((16, 8, 3), "uint8"), recipe)
        done = sfumato("generate", "--from", "1.png")
        assert done.code == 0
        assert pipeline.calls[0]["schedule"] == "uniform"
        clip, random = done.err.splitlines()
        assert clip == "sfumato: warning: not used from the recipe of 1.png: Clip skip"
        assert (
            random
            == "sfumato: warning: 1.png was made from other random numbers; the picture will differ"
        )

    def test_no_recipe(self, sfumato, pipeline):
        save("1.png", np.zeros((8, 8, 3), "uint8"))
        done = sfumato("generate", "--from", "1.png")
        assert (done.code, done.err) == (1, "sfumato: error: 1.png carries no recipe\n")

    def test_a_picture_made_from_a_picture(self, sfumato, pipeline):
        save("1.png", np.zeros((8, 8, 3), "uint8"), Recipe("a", steps=1, seed=1, strength=0.5))
        done = sfumato("generate", "--from", "1.png")
        assert done.code == 1
        assert "was made from another picture" in done.err
