"""The families of Stable Diffusion: what their models share and no file says, a row each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sfumato.networks.configs import END_OF_TEXT

Prediction = Literal["epsilon", "v_prediction", "sample", "edm"]
"""The answer of a denoiser: the noise, the velocity, the picture, or what EDM's networks say."""
Factors = tuple[tuple[float, float, float], ...]
"""Latents to colours: a row for each channel and one for the constant; see ``latents_to_rgb``."""

EXCLAMATION = 0
"""The token of "!", with which OpenCLIP fills up a prompt."""


# ComfyUI's factors, which give colours of -1 to 1, brought to 0 to 1.
SD_FACTORS = (
    (0.1756, 0.11485, 0.16135),
    (0.1625, 0.2487, 0.1175),
    (-0.14145, 0.0881, 0.13605),
    (-0.106, -0.1308, -0.35885),
    (0.5, 0.5, 0.5),
)
XL_FACTORS = (
    (0.18255, 0.2116, 0.21705),
    (-0.12665, -0.0021, 0.0534),
    (0.0538, 0.05555, -0.0181),
    (-0.15825, -0.1246, -0.1094),
    (0.5542, 0.49125, 0.49945),
)


@dataclass(frozen=True)
class Family:
    """The properties that the models of a family share, where their files leave them open.

    The defaults are those of 1.x.
    """

    name: str
    context_width: int = 768
    """Of the text that the U-Net attends to; it tells 1.x from 2.x."""
    size_embedding: int = 0
    """Width of the sinusoids for each of XL's sizes; 0: the U-Net takes no sizes."""
    head_width: int | None = None
    """Width of an attention head of the U-Net; None: there are eight heads, whatever the width."""
    prediction: Prediction | None = "epsilon"
    """Of the U-Net; None: the family has models of both kinds, of the same shapes."""
    size: int = 512
    """Height and width in pixels of the pictures that its models were trained on."""
    v_size: int = 768
    """The same where the U-Net predicts the velocity."""
    pad_tokens: tuple[int, ...] = (END_OF_TEXT,)
    """The tokens that fill up a prompt, one for each text encoder."""
    penultimate: bool = False
    """Whether the text encoders give their last but one layer's output."""
    reads_any_layer: bool = True
    """Whether a request may choose the layer of the text encoder, as `clip_skip`."""
    zero_negative: bool = False
    """Whether no negative prompt means zeros instead of the empty prompt."""
    scaling_factor: float = 0.18215
    """Of the autoencoder."""
    tiny_decoder: str = "madebyollin/taesd"
    """The Hub's repository of the tiny autoencoder for its latents."""
    overflows_in_float16: bool = False
    """Whether the autoencoder leaves the range of float16."""
    preview_factors: Factors = SD_FACTORS
    freeu: tuple[float, float, float, float] = (0.9, 0.2, 1.5, 1.6)
    """s1, s2, b1 and b2 as FreeU's authors advise."""
    scores: tuple[float, float] | None = None
    """The beauty that a prompt and a negative prompt ask for; None: the U-Net takes no scores."""
    apg: tuple[float, float, float] = (0.0, -0.75, 7.5)
    """Eta, momentum and norm threshold as the paper of projected guidance has them for 2.1."""

    @property
    def text_encoders(self) -> int:
        """The number of text encoders that its models have."""
        return len(self.pad_tokens)

    def heads(self, channels: tuple[int, ...]) -> tuple[int, ...]:
        """The number of attention heads at each level of the U-Net."""
        if self.head_width is None:
            return (8,) * len(channels)
        return tuple(max(1, width // self.head_width) for width in channels)


FAMILIES = (
    Family("1.x"),
    Family(
        "2.x",
        context_width=1024,
        head_width=64,
        prediction=None,
        # Its text encoder gives the last but one layer's output, too: the last one is not loaded.
        pad_tokens=(EXCLAMATION,),
        reads_any_layer=False,
        freeu=(0.9, 0.2, 1.4, 1.6),
    ),
    Family(
        "XL",
        context_width=2048,
        size_embedding=256,
        head_width=64,
        size=1024,
        v_size=1024,
        pad_tokens=(END_OF_TEXT, EXCLAMATION),
        penultimate=True,
        reads_any_layer=False,
        zero_negative=True,
        scaling_factor=0.13025,
        tiny_decoder="madebyollin/taesdxl",
        overflows_in_float16=True,
        preview_factors=XL_FACTORS,
        freeu=(0.9, 0.2, 1.3, 1.4),
        apg=(0.0, -0.5, 15.0),
    ),
    Family(
        "XL refiner",
        context_width=1280,
        size_embedding=256,
        head_width=64,
        size=1024,
        v_size=1024,
        pad_tokens=(EXCLAMATION,),
        penultimate=True,
        reads_any_layer=False,
        scaling_factor=0.13025,
        tiny_decoder="madebyollin/taesdxl",
        overflows_in_float16=True,
        preview_factors=XL_FACTORS,
        freeu=(0.9, 0.2, 1.3, 1.4),
        scores=(6.0, 2.5),
        apg=(0.0, -0.5, 15.0),
    ),
)


def find_family(context_width: int = 0, sizes: bool = False, refines: bool = False) -> Family:
    """The family of a U-Net, by the width of its text and by whether it takes sizes, as XL's does.

    A width of no family counts as that of the first one that takes sizes, or takes none.
    """
    kin = [family for family in FAMILIES if bool(family.size_embedding) == sizes]
    if refines:
        return next(family for family in kin if family.scores)
    return next((family for family in kin if family.context_width == context_width), kin[0])
