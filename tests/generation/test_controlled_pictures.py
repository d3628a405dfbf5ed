"""ControlNets in whole pictures, against diffusers' pipelines."""

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
from small_controlnets import NEGATIVE, PROMPT, STEPS, Pair

from sfumato import controlling
from sfumato.checkpoints.tensors import CheckpointError
from sfumato.request import Request
from sfumato.request.control import Control
from sfumato.stable_diffusion import StableDiffusion

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:diffusers")


@pytest.fixture(scope="module", params=["1.x", "xl"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(request.param, tmp_path_factory.mktemp("models"))


def test_one(pair: Pair) -> None:
    expected = pair.theirs(1, controlnet_conditioning_scale=0.8)
    pair.check(pair.paint({"weight": 0.8}), expected)


def test_two_at_once_for_parts_of_the_steps(pair: Pair) -> None:
    expected = pair.theirs(
        2,
        controlnet_conditioning_scale=[0.8, 0.5],
        control_guidance_start=[0.0, 0.3],
        control_guidance_end=[0.7, 1.0],
    )
    got = pair.paint({"weight": 0.8, "end": 0.7}, {"weight": 0.5, "start": 0.3})
    pair.check(got, expected)


def test_guess_mode(pair: Pair) -> None:
    """The negative prompt is answered without it, and the first maps count less."""
    expected = pair.theirs(1, controlnet_conditioning_scale=0.8, guess_mode=True)
    pair.check(pair.paint({"weight": 0.8, "mode": "guess"}), expected)


def test_inpainting(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The part to paint is hidden from the ControlNet, which sees the rest."""
    if pair.kind == "xl":
        return  # it is the same there
    image, mask = small_controlnets.picture(3), np.zeros((64, 48), "uint8")
    mask[16:48, 8:32] = 255
    hint = np.where(mask[..., None] > 0, np.float32(-1), image / np.float32(255))
    parts = small_controlnets.pipeline(pair.kind, pair.nets[0]).components
    parts["scheduler"] = diffusers.EulerDiscreteScheduler(
        **small_pipelines.NOISE, timestep_spacing="linspace", steps_offset=1
    )
    theirs = diffusers.StableDiffusionControlNetInpaintPipeline(
        **parts, requires_safety_checker=False
    )
    theirs.set_progress_bar_config(disable=True)
    noise = small_pipelines.start_noise(1, 64, 48)
    latents = torch.from_numpy(np.ascontiguousarray(noise.transpose(0, 3, 1, 2)))
    module = __import__(type(theirs).__module__, fromlist=["randn_tensor"])
    monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: latents)
    distribution = diffusers.models.autoencoders.vae.DiagonalGaussianDistribution
    monkeypatch.setattr(distribution, "sample", lambda self, generator=None: self.mean)
    with torch.no_grad():
        expected = theirs(
            PROMPT,
            image=Image.fromarray(image),
            mask_image=Image.fromarray(mask),
            control_image=torch.from_numpy(hint.transpose(2, 0, 1)[None]),
            negative_prompt=NEGATIVE,
            height=64,
            width=48,
            num_inference_steps=STEPS,
            guidance_scale=7.5,
            controlnet_conditioning_scale=0.8,
            output_type="np",
        ).images
    given = (PROMPT, image, mask / 255)
    settings: dict[str, Any] = {
        "negative_prompt": NEGATIVE,
        "num_steps": STEPS,
        "unconditional_guidance_scale": 7.5,
        "diffusion_noise": noise,
        "strength": 1.0,
        "sampler": "euler",
        "schedule": "uniform",
        "verbose": False,
    }
    control = (pair.files[0], None, {"preprocessor": "inpaint", "weight": 0.8})
    got = pair.ours.inpaint(*given, controls=[control], **settings).astype("int16")
    difference = np.abs(got - np.round(expected * 255).astype("int16"))
    assert difference[:, mask == 255].max() <= 1


def test_a_controlnet_union(pair: Pair, tmp_path: Path) -> None:
    if pair.kind == "1.x":
        return  # there is none
    net = small_controlnets.union()
    expected = pair.theirs(1, net, control_mode=1, controlnet_conditioning_scale=0.8)
    files, pair.files = pair.files, [str(small_controlnets.save(net, tmp_path))]
    got = pair.paint({"weight": 0.8, "task": "depth"})
    other = pair.paint({"weight": 0.8, "task": "pose"})
    pair.files = files
    pair.check(got, expected)
    assert np.abs(other - got).mean() > 1


def test_a_t2i_adapter_and_a_controlnet(pair: Pair, tmp_path: Path) -> None:
    """The adapter alone against diffusers', and both together against neither."""
    if pair.kind == "xl":
        return  # its adapters need more levels; see the networks' tests
    net = small_controlnets.adapter()
    net.save_pretrained(tmp_path)
    files, pair.files = pair.files, [str(tmp_path)]
    expected = pair.theirs(1, net, adapter_conditioning_scale=0.8)
    got = pair.paint({"weight": 0.8})
    pair.files = [str(tmp_path), files[0]]
    both = pair.paint({"weight": 0.8, "end": 0.5}, {"weight": 0.5})
    pair.files = files
    pair.check(got, expected)
    assert np.abs(both - got).mean() > 5


# Laws


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    net = small_controlnets.controlnet("1.x")
    return str(small_controlnets.save(net, tmp_path_factory.mktemp("nets") / "net"))


@pytest.fixture(scope="module")
def model(folder: Path) -> StableDiffusion:
    return StableDiffusion(64, 48, preset=str(folder))


def paint(model: StableDiffusion, *controls: Any, **fields: Any) -> np.ndarray:
    given = {"steps": 4, "seed": 5, "negative_prompt": NEGATIVE, "controls": controls}
    request = Request(**{"prompt": PROMPT} | given | fields)
    return model.generate(request)[0].pixels.astype("int16")


def test_unused_it_is_not_there(model: StableDiffusion, file: str) -> None:
    plain = paint(model)
    assert model.parts.controls == {}
    assert len(model.parts.evaluate.executables) == 1
    net = (file, small_controlnets.picture(), {"end": 0.5})
    led = paint(model, net)
    assert np.abs(led - plain).mean() > 5
    assert len(model.parts.evaluate.executables) == 2  # also where it is silent, from the half on
    [loaded] = model.parts.controls.values()
    assert len(loaded.control.executables) == 1
    assert np.array_equal(paint(model), plain)
    assert model.parts.controls == {}  # its memory is free again
    assert len(model.parts.evaluate.executables) == 2


def test_of_weight_0_or_out_of_its_time_it_says_nothing(
    model: StableDiffusion, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then nothing is computed, and the picture is the same bit for bit."""
    plain, net = paint(model), (file, small_controlnets.picture())
    led = paint(model, (*net, {"end": 0.5}))
    both = paint(model, (*net, {"end": 0.5}), (*net, {"weight": 0}))
    assert np.array_equal(both, led)
    asked: list[int] = []
    weights = controlling.weights_of
    monkeypatch.setattr(controlling, "weights_of", lambda *x: asked.append(1) or weights(*x))
    paint(model, (*net, {"end": 0.5}))
    assert len(asked) == 2  # of 4 steps
    for options in ({"weight": 0}, {"start": 0.9}):
        assert np.array_equal(paint(model, (*net, options)), plain)
        assert model.parts.controls == {}
    assert len(asked) == 2


def test_twice_with_half_the_weight_is_once(model: StableDiffusion, file: str) -> None:
    net = (file, small_controlnets.picture())
    once = paint(model, (*net, {"weight": 0.8}))
    twice = paint(model, (*net, {"weight": 0.5}), (*net, {"weight": 0.3}))
    assert np.abs(once - twice).max() <= 1


def test_modes_are_different(model: StableDiffusion, file: str) -> None:
    net = (file, small_controlnets.picture())
    modes = ("balanced", "prompt", "control", "guess")
    painted = [paint(model, (*net, {"mode": mode})) for mode in modes]
    for i, one in enumerate(painted):
        assert all(np.abs(one - other).mean() > 1 for other in painted[:i])


def test_weights_of_a1111() -> None:
    """As its extension has them, 13 numbers of which XL takes the first ten."""
    soft = Control(file="a", weight=0.5, mode="prompt")
    assert np.allclose(controlling.weights_of(soft, 13)[[0, 11, 12]] * 2, [0.825**12, 0.825, 1])
    assert np.allclose(controlling.weights_of(soft, 10)[9] * 2, 0.825**3)


def test_with_less_work_and_other_rules(model: StableDiffusion, file: str) -> None:
    """Features of an earlier evaluation come with those of the ControlNet; all rules go along."""
    net = (file, small_controlnets.picture())
    plain = paint(model, net)
    for fields in (
        {"feature_reuse": 2, "guidance_interval": (0.25, 1.0)},
        {
            "pag_scale": 2.0,
            "freeu": {},
            "seamless": "x",
            "prompt": "a red [apple:pear:2] AND a table",
        },
    ):
        other = paint(model, net, **fields)
        assert other.std() > 5
        assert np.abs(other - plain).mean() > 0.1


def test_several_pictures_are_those_alone(model: StableDiffusion, file: str) -> None:
    net = (file, small_controlnets.picture())
    given = {"steps": 4, "negative_prompt": NEGATIVE, "controls": [net]}
    both = model.generate(PROMPT, seed=5, count=2, **given)
    assert np.abs(both[0].pixels - paint(model, net)).max() <= 1
    assert np.abs(both[1].pixels - paint(model, net, seed=6)).max() <= 1


def test_the_picture_that_is_begun_from(model: StableDiffusion, file: str) -> None:
    picture = small_controlnets.picture()
    given = {"image": picture, "strength": 0.8}
    assert np.array_equal(paint(model, (file,), **given), paint(model, (file, picture), **given))
    hidden = paint(model, (file, None, {"preprocessor": "inpaint"}), **given, mask=picture[..., 0])
    assert hidden.shape == picture.shape


def test_a_network_that_is_no_unet_of_ours_or_no_numbers(
    model: StableDiffusion, file: str, tmp_path: Path
) -> None:
    broken = small_controlnets.controlnet("1.x")
    with torch.no_grad():
        broken.controlnet_mid_block.bias[0] = np.nan
    bad = str(small_controlnets.save(broken, tmp_path / "bad"))
    with pytest.raises(CheckpointError, match="`controlnet_mid_block.bias` of .* is nan"):
        paint(model, (bad, small_controlnets.picture()))
    xl = str(small_controlnets.save(small_controlnets.controlnet("xl"), tmp_path / "xl"))
    with pytest.raises(CheckpointError, match="is made for models of the kind"):
        paint(model, (xl, small_controlnets.picture()))
    assert paint(model, (file, small_controlnets.picture())).std() > 5
