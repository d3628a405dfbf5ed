"""The tiny autoencoder against diffusers' ``AutoencoderTiny``, in each dialect of its files."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from references import error, first, last

from sfumato import runtime
from sfumato.checkpoints import fill, open_checkpoint
from sfumato.checkpoints.safetensors import write_safetensors
from sfumato.networks.configs import TinyAutoencoderConfig
from sfumato.networks.network import keys
from sfumato.networks.tiny import TinyImageDecoder, TinyImageEncoder

WIDTH = 16


@pytest.fixture(scope="module")
def theirs() -> Any:
    torch.manual_seed(0)
    widths = (WIDTH,) * 4
    return AutoencoderTiny(
        encoder_block_out_channels=widths, decoder_block_out_channels=widths
    ).eval()


def original(half: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Half of the tensors as the author's own files number them."""
    found = {}
    for name, tensor in tensors.items():
        side, _, number, rest = name.split(".", 3)
        if side == half:
            found[f"{int(number) + (half == 'decoder')}.{rest}"] = tensor
    return found


def files(dialect: str, theirs: Any, folder: Path) -> list[Path]:
    tensors = theirs.state_dict()
    if dialect == "diffusers":
        theirs.save_pretrained(folder)
        return [folder]
    halves = {half: original(half, tensors) for half in ("encoder", "decoder")}
    if dialect == "pth":
        for half, each in halves.items():
            torch.save(each, folder / f"taesd_{half}.pth")
        return [*folder.iterdir()]
    both = {
        f"taesd_{half}.{n}": t.numpy() for half, each in halves.items() for n, t in each.items()
    }
    both |= {"vae_scale": np.array(0.18215, "float32"), "vae_shift": np.zeros((), "float32")}
    write_safetensors(folder / "taesd.safetensors", both)
    return [folder / "taesd.safetensors"]


@pytest.mark.parametrize("dialect", ["diffusers", "pth", "one file"])
def test_both_halves(dialect: str, theirs: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    picture = random.uniform(-1, 1, (2, 24, 40, 3)).astype("float32")
    latents = 3 * random.standard_normal((2, 3, 5, 4)).astype("float32")  # some beyond -3 to 3
    with torch.no_grad():
        wanted = {
            "image_encoder": (picture, last(theirs.encode(first(picture)).latents)),
            "decoder": (latents, last(theirs.decode(first(latents)).sample)),
        }
    seen = set()
    for file in files(dialect, theirs, tmp_path):
        checkpoint = open_checkpoint(file)
        for half, tensors in checkpoint.parts.items():
            kind = TinyImageDecoder if half == "decoder" else TinyImageEncoder
            network = kind(checkpoint.autoencoder_config(half))
            fill(network, tensors)
            x, expected = wanted[half]
            program = runtime.compile(partial(lambda n, x: n(x), network), [network], True)
            assert error(program(x), expected) < 1e-5
            seen.add(half)
    assert seen == {*wanted}


def test_the_published_size() -> None:
    sizes = {TinyImageEncoder: (1_222_532, 67), TinyImageDecoder: (1_222_531, 67)}
    for kind, (count, tensors) in sizes.items():
        network = kind(TinyAutoencoderConfig())
        assert (network.count_params(), len(keys(network))) == (count, tensors)


def test_it_is_copied_as_any_keras_model() -> None:
    network = TinyImageDecoder(TinyAutoencoderConfig(8))
    assert TinyImageDecoder.from_config(network.get_config()).config == network.config
