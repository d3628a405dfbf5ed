"""Weights on vectors, against the statements of the algorithms in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sfumato.text.weighting import weigh

RANDOM = np.random.default_rng(0)
CONTEXT, EMPTY = RANDOM.standard_normal((2, 77, 8), "float32") + np.float32(0.2)
WEIGHTS = np.where(np.arange(77) % 5 == 1, 1.3, 1).astype("float32")


def test_original_restores_the_mean() -> None:
    # modules/sd_emphasis.py of A1111: z *= weights; z *= original_mean / new_mean
    z, weights = torch.tensor(CONTEXT[None]), torch.tensor(WEIGHTS[None])
    mean = z.mean()
    z = z * weights.reshape(*weights.shape, 1).expand(z.shape)
    z = z * (mean / z.mean())
    weighed = weigh(CONTEXT, WEIGHTS, "original")
    np.testing.assert_allclose(weighed, z[0].numpy(), rtol=1e-5)  # their mean is in float32
    assert weighed.mean() == pytest.approx(CONTEXT.mean(), rel=1e-5)
    assert weighed.dtype == np.float32


def test_no_norm_scales_single_tokens() -> None:
    weighed = weigh(CONTEXT, WEIGHTS, "no_norm")
    np.testing.assert_array_equal(weighed[WEIGHTS == 1], CONTEXT[WEIGHTS == 1])
    np.testing.assert_array_equal(weighed[1], CONTEXT[1] * np.float32(1.3))


def test_comfyui_goes_away_from_the_empty_prompt() -> None:
    # comfy/sd1_clip.py: z_empty + (z - z_empty) * w
    weighed = weigh(CONTEXT, WEIGHTS, "comfyui", EMPTY)
    np.testing.assert_allclose(weighed[1], EMPTY[1] + 1.3 * (CONTEXT[1] - EMPTY[1]), rtol=1e-5)
    np.testing.assert_array_equal(weighed[WEIGHTS == 1], CONTEXT[WEIGHTS == 1])
    zero = weigh(CONTEXT, np.zeros(77, "float32"), "comfyui", EMPTY)
    np.testing.assert_array_equal(zero, EMPTY)


def test_vectors_without_a_mean_stay_finite() -> None:
    assert np.isfinite(weigh(CONTEXT, np.zeros(77, "float32"), "original")).all()


def test_weights_of_one_change_no_bit() -> None:
    for emphasis in ("original", "no_norm", "comfyui"):
        np.testing.assert_array_equal(weigh(CONTEXT, WEIGHTS * 0 + 1, emphasis, EMPTY), CONTEXT)
