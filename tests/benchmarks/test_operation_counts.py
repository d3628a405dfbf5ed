"""Counts of operations against the published ones, and against PyTorch's own counter."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.models import MODELS, checkpoint
from benchmarks.operations import Operation, decoder_operations, total, unet_operations


@pytest.mark.parametrize(
    ("model", "latent", "texts", "giga"),
    [("sd1.5", 64, 1.48, 401.6), ("sd2.1", 96, 1.98, 1074.6), ("sdxl", 128, 26.24, 3380.6)],
)
def test_unet_of_known_size(model: str, latent: int, texts: float, giga: float) -> None:
    """``texts``: the keys and values of the text, which are not computed at every step."""
    counted = total(unet_operations(MODELS[model].unet, latent, latent)) / 2e9
    assert counted + texts == pytest.approx(giga, abs=0.1)


@pytest.mark.parametrize(("latent", "giga"), [(64, 1257), (128, 5235)])
def test_decoder_of_known_size(latent: int, giga: float) -> None:
    counted = total(decoder_operations(MODELS["sd1.5"].vae, latent, latent)) / 2e9
    assert counted == pytest.approx(giga, abs=0.5)


def test_unet_as_torch_counts_it(tmp_path) -> None:
    model = MODELS["tiny"]
    folder = checkpoint("tiny", tmp_path)
    network = UNet2DConditionModel.from_pretrained(folder / "unet")
    network.set_default_attn_processor()  # bare matmuls, which the counter sees
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 4, 8, 8), torch.tensor([1.0]), torch.zeros(1, 77, 32))
    texts = sum(
        2 * 2 * 77 * 32 * o.shape[2] * o.shape[3]
        for o in unet_operations(model.unet, 8, 8)
        if o.kind == "attention" and o.shape[1] == 77
    )
    assert total(unet_operations(model.unet, 8, 8)) + texts == counter.get_total_flops()


def test_decoder_as_torch_counts_it(tmp_path) -> None:
    folder = checkpoint("tiny", tmp_path)
    network = AutoencoderKL.from_pretrained(folder / "vae")
    network.set_default_attn_processor()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.decode(torch.zeros(1, 4, 8, 8))
    assert total(decoder_operations(MODELS["tiny"].vae, 8, 8)) == counter.get_total_flops()


def test_a_norm_counts_as_nothing() -> None:
    assert Operation("norm", (64, 32, 8)).count == 0
