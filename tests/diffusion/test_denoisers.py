"""Prediction types and guidance, against their definitions and against diffusers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
from keras import ops

from sfumato.diffusion import PREDICTIONS, guide, scalings
from sfumato.diffusion.denoisers import compose

SIGMAS = np.array([0.0, 0.03, 1.0, 14.6, 4096.0])


def predicted(prediction: str, x0: np.ndarray, noise: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """What a perfect network of that prediction type says."""
    alpha = (1.0 + sigma**2) ** -0.5
    return {
        "epsilon": noise,
        "v_prediction": alpha * noise - sigma * alpha * x0,
        "sample": x0,
        "edm": sigma * alpha * x0 - alpha * noise,
    }[prediction]


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_scalings_find_the_clean_data_again(prediction: str) -> None:
    x0, noise = np.random.default_rng(0).normal(size=(2, 1000, len(SIGMAS)))
    x = x0 + SIGMAS * noise
    c_skip, c_out, c_in = scalings(prediction, SIGMAS)
    denoised = c_skip * x + c_out * predicted(prediction, x0, noise, SIGMAS)
    np.testing.assert_allclose(denoised, x0, rtol=0, atol=1e-11)
    np.testing.assert_allclose((c_in * x).std(axis=0), 1.0, atol=0.1)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_scalings_of_a_float_are_those_of_an_array(prediction: str) -> None:
    arrays = scalings(prediction, SIGMAS)
    for i, sigma in enumerate(SIGMAS.tolist()):
        np.testing.assert_allclose(scalings(prediction, sigma), [a[i] for a in arrays], rtol=1e-15)


def test_unknown_predictions_are_refused() -> None:
    with pytest.raises(ValueError, match="`prediction` must be one of .*Received: prediction='x0'"):
        scalings("x0", 1.0)


def test_guidance_without_rescale_takes_any_arrays() -> None:
    cond, uncond = np.random.default_rng(1).normal(size=(2, 3, 4))
    np.testing.assert_allclose(guide(cond, uncond, 7.5), uncond + 7.5 * (cond - uncond))
    np.testing.assert_allclose(guide(cond, uncond, 1.0), cond, atol=1e-15)


@pytest.mark.parametrize("rescale", [0.3, 0.7, 1.0])
@pytest.mark.parametrize("shape", [(2, 5, 7, 4), (1, 4, 8, 8)])
def test_guidance_rescale_is_diffusers(rescale: float, shape: tuple[int, ...]) -> None:
    cond, uncond = np.random.default_rng(2).normal(size=(2, *shape)).astype(np.float32)
    cond[0] *= 3.0  # pictures of a batch have their own deviations
    expected = rescale_noise_cfg(
        torch.from_numpy(uncond + 7.5 * (cond - uncond)), torch.from_numpy(cond), rescale
    )
    guided = guide(ops.convert_to_tensor(cond), ops.convert_to_tensor(uncond), 7.5, rescale)
    np.testing.assert_allclose(ops.convert_to_numpy(guided), expected.numpy(), atol=2e-5)


def test_guidance_rescale_of_nothing_as_a_tensor_changes_nothing() -> None:
    cond, uncond = np.random.default_rng(3).normal(size=(2, 2, 6)).astype(np.float32)
    guided = guide(cond, uncond, 3.0, ops.convert_to_tensor(0.0))
    np.testing.assert_allclose(ops.convert_to_numpy(guided), guide(cond, uncond, 3.0), rtol=1e-6)


def test_composed_prompts_add_up_their_directions() -> None:
    random = np.random.default_rng(4)
    conds, uncond = random.normal(size=(6, 2, 2, 4)), random.normal(size=(2, 2, 2, 4))
    weights = np.array([[1.0, 0.5], [-0.3, 2.0], [0.25, 0.0]])  # of three prompts for two pictures
    composed = compose(conds, uncond, weights)
    for i in range(2):
        directions = [weights[k, i] * (conds[2 * k + i] - uncond[i]) for k in range(3)]
        np.testing.assert_allclose(composed[i], uncond[i] + sum(directions))
    mean = compose(conds, None, np.full((3, 2), 1 / 3))
    np.testing.assert_allclose(mean, conds.reshape(3, 2, 2, 2, 4).mean(axis=0))
    np.testing.assert_allclose(compose(conds[:2], uncond, np.ones((1, 2))), conds[:2], atol=1e-15)
