"""Pictures as prompts in whole pictures, against diffusers' pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import small_controlnets
import small_pipelines
import torch
from PIL import Image

import small_ip_adapters
from sfumato.checkpoints.tensors import CheckpointError
from sfumato.conditioning import Told
from sfumato.networks.denoiser import Conditioning
from sfumato.request import Request
from sfumato.stable_diffusion import StableDiffusion

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

PROMPT, NEGATIVE = "a red apple on a table, oil painting", "blurry, blue"
STEPS = 3
KINDS = ("base", "plus", "full")


def picture(seed: int = 0, height: int = 50, width: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype("uint8")


class Pair:
    """A model of diffusers' and ours, with IP-Adapters of each kind."""

    def __init__(self, family: str, folder: Path) -> None:
        self.family, self.folder = family, folder
        self.made = small_pipelines.pipeline(family)
        unet = self.made.unet
        self.files = {kind: small_ip_adapters.save(unet, kind, folder) for kind in KINDS}
        self.made.scheduler = diffusers.EulerDiscreteScheduler(
            **small_pipelines.NOISE, timestep_spacing="linspace"
        )
        self.ours = StableDiffusion(64, 48, preset=str(small_pipelines.save(family, folder)))
        self.plain = self.paint()

    def theirs(
        self, *prompts: tuple[str, float], guidance: float = 7.5, **fields: Any
    ) -> np.ndarray:
        names = [self.files[kind].name for kind, _ in prompts]
        self.made.load_ip_adapter(str(self.folder), subfolder="", weight_name=names)
        self.made.set_ip_adapter_scale([weight for _, weight in prompts])
        noise = small_pipelines.start_noise(1, 64, 48)
        with torch.no_grad():
            made = self.made(
                PROMPT,
                negative_prompt=NEGATIVE,
                ip_adapter_image=[Image.fromarray(picture(i)) for i in range(len(prompts))],
                height=64,
                width=48,
                num_inference_steps=STEPS,
                guidance_scale=guidance,
                latents=torch.from_numpy(np.ascontiguousarray(noise.transpose(0, 3, 1, 2))),
                output_type="np",
                **fields,
            )
        self.made.unload_ip_adapter()
        return np.round(made.images * 255).astype("int16")

    def paint(
        self, *prompts: tuple[str, float], guidance: float = 7.5, **fields: Any
    ) -> np.ndarray:
        given = [(self.files[kind], picture(i), w) for i, (kind, w) in enumerate(prompts)]
        return self.ours.text_to_image(
            PROMPT,
            NEGATIVE if guidance > 1 else None,
            1,
            STEPS,
            guidance,
            diffusion_noise=small_pipelines.start_noise(1, 64, 48),
            sampler="euler",
            schedule="uniform",
            verbose=False,
            image_prompts=given,
            **fields,
        ).astype("int16")


@pytest.fixture(scope="module", params=["1.x", "xl"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(request.param, tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize(
    ("prompts", "guidance"),
    [
        ([("base", 0.8)], 7.5),
        ([("plus", 0.8), ("base", -0.3)], 7.5),
        ([("full", 0.5)], 1.0),
    ],
)
def test_as_diffusers_paints(prompts: list[tuple[str, float]], guidance: float, pair: Pair) -> None:
    expected = pair.theirs(*prompts, guidance=guidance)
    got = pair.paint(*prompts, guidance=guidance)
    assert got.shape == expected.shape
    assert np.abs(expected - pair.plain).mean() > 3  # the pictures say something
    assert np.abs(got - expected).max() <= 1


def test_with_a_controlnet(pair: Pair, tmp_path: Path) -> None:
    """As diffusers has both: the ControlNet attends to the words alone."""
    if pair.family == "xl":
        return  # it is the same there
    net = small_controlnets.controlnet("1.x")
    made = small_controlnets.pipeline("1.x", net)
    made.scheduler = pair.made.scheduler
    own, pair.made = pair.made, made
    shown = small_controlnets.picture()
    expected = pair.theirs(("plus", 0.7), image=Image.fromarray(shown))
    pair.made = own
    controls = [(small_controlnets.save(net, tmp_path), shown)]
    assert np.abs(pair.paint(("plus", 0.7), controls=controls) - expected).max() <= 1


# Laws


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    place, unet = tmp_path_factory.mktemp("adapters"), small_pipelines.pipeline("1.x").unet
    return {kind: str(small_ip_adapters.save(unet, kind, place)) for kind in KINDS}


@pytest.fixture(scope="module")
def model(folder: Path) -> StableDiffusion:
    return StableDiffusion(64, 48, preset=str(folder))


def paint(model: StableDiffusion, *prompts: Any, **fields: Any) -> np.ndarray:
    given = {"steps": 3, "seed": 5, "negative_prompt": NEGATIVE, "image_prompts": prompts}
    request = Request(**{"prompt": PROMPT} | given | fields)
    return model.generate(request)[0].pixels.astype("int16")


def test_unused_or_of_weight_0_it_is_not_there(
    model: StableDiffusion, files: dict[str, str]
) -> None:
    plain = paint(model)
    silent = paint(model, (files["plus"], picture(), 0))
    assert np.array_equal(silent, plain)
    assert model.parts.image_prompts == {}
    assert len(model.parts.evaluate.executables) == 1

    shown = paint(model, (files["plus"], picture(), 0.5))
    assert np.abs(shown - plain).mean() > 3
    assert len(model.parts.evaluate.executables) == 2
    [loaded] = model.parts.image_prompts.values()
    other = paint(model, (files["plus"], picture(1), 0.9), prompt="a pear")
    assert np.abs(other - shown).mean() > 1
    assert (
        len(model.parts.evaluate.executables) == 2
    )  # one program for all pictures, words and weights
    assert len(loaded.see.look.executables) == len(loaded.remember.executables) == 1
    assert len(loaded.see.seen) == 3  # each picture is looked at once, and no picture, too

    assert np.array_equal(paint(model), plain)
    assert model.parts.image_prompts == {}  # its memory is free again


def test_several_pictures_are_those_alone(model: StableDiffusion, files: dict[str, str]) -> None:
    given = (files["plus"], picture(), 0.8)
    both = model.generate(
        PROMPT, seed=5, count=2, steps=3, negative_prompt=NEGATIVE, image_prompts=[given]
    )
    for seed, each in enumerate(both, 5):
        assert np.abs(each.pixels - paint(model, given, seed=seed)).max() <= 1


def test_the_rows_that_remember_a_picture(model: StableDiffusion, files: dict[str, str]) -> None:
    """All prompts, also those with perturbed attention, and no negative prompt."""
    seen: list[tuple[int, int]] = []

    def also(conditioning: Conditioning, asked: int) -> Conditioning:
        seen.append((asked, conditioning.batch))
        return conditioning

    request = Request(prompt="a red apple AND a table", steps=3, pag_scale=2.0, count=2)
    singles = request.completed(model.model).singles()
    told = Told(model.parts, singles, 3, also=also)
    told(0, True)
    told(0, False)
    assert seen == [(8, 10)]  # 2 pictures, 2 prompts, twice; 2 negative ones

    given = (files["plus"], picture(), 0.8)  # half of it twice is the whole
    halves = paint(model, given, prompt=f"{PROMPT}:0.5 AND {PROMPT}:0.5")
    assert np.abs(halves - paint(model, given)).max() <= 1


def test_what_cannot_be(model: StableDiffusion, files: dict[str, str], tmp_path: Path) -> None:
    xl = small_ip_adapters.save(small_pipelines.pipeline("xl").unet, "base", tmp_path)
    with pytest.raises(CheckpointError, match="is made for models of the kind"):
        paint(model, (xl, picture()))
    groups = small_ip_adapters.adapter(small_pipelines.pipeline("1.x").unet, "base")
    groups["ip_adapter"]["1.to_k_ip.weight"][0, 0] = np.nan
    torch.save(groups, tmp_path / "bad.bin")
    with pytest.raises(CheckpointError, match="The weight `ip_adapter.1.to_k_ip.weight` .* is nan"):
        paint(model, (tmp_path / "bad.bin", picture()))
    del groups["ip_adapter"]["3.to_k_ip.weight"]
    torch.save(groups, tmp_path / "bad.bin")
    with pytest.raises(CheckpointError, match="is no IP-Adapter for this model.*missing: ip_ad"):
        paint(model, (tmp_path / "bad.bin", picture()))
    assert paint(model, (files["plus"], picture(), 0.8)).std() > 5
