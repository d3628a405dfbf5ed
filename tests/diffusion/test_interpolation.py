"""Latents at another size against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sfumato.diffusion.interpolation import MODES, interpolated


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sizes", [((8, 8), (16, 16)), ((5, 9), (7, 14)), ((3, 4), (3, 13))])
def test_interpolation_is_pytorchs(mode, sizes):
    x = np.random.default_rng(0).standard_normal((2, *sizes[0], 4)).astype("float32")
    kind, _, antialiased = mode.partition("_antialiased")
    options = {"antialias": True} if antialiased or "_antialiased" in mode else {}
    if kind in ("bilinear", "bicubic"):
        options["align_corners"] = False
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(x).permute(0, 3, 1, 2), sizes[1], mode=kind.replace("_", "-"), **options
    )
    found = interpolated(x, sizes[1], mode)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.permute(0, 2, 3, 1).numpy(), atol=2e-6)
