"""Perturbed attention: Ahn et al. 2024 (arXiv 2403.17377), to see how a picture loses its shape."""

from __future__ import annotations

from typing import NamedTuple

from keras import ops

from sfumato.kernels import Tensor
from sfumato.networks.layers import SelfAttention, project


class Perturbation(NamedTuple):
    """Applies self-attention, or for some rows of the batch what a token gets from itself alone."""

    attending: Tensor  # (B, 1, 1): 1, or 0 for those rows

    def __call__(self, layer: SelfAttention, x: Tensor) -> Tensor:
        """x (B, T, C) -> (B, T, C)"""
        *_, values = project(layer.to_qkv, x, 3)
        alone = layer.to_out[0](values)  # equation 15: the map of attention is the identity
        return alone + ops.cast(self.attending, alone.dtype) * (layer(x) - alone)
