"""Fit the preview of the bundled models: the factors that turn their latents into colours.

python -m recipes.mini.preview

prints the rows of ``preview_factors`` in ``src/sfumato/presets/table.py``: one for each channel of
the latents, then the constant. They are fitted to the pictures that ``mini`` makes of the recipe's
64 prompts, and to the latents that it decodes them from.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sfumato import Picture, StableDiffusion
from sfumato.pictures.preview import fit_factors

PROMPTS = Path(__file__).with_name("prompts.txt")


def factors(model: StableDiffusion) -> np.ndarray:
    """(C + 1, 3) from a picture of each prompt."""
    latents, pictures = [], []
    for seed, prompt in enumerate(PROMPTS.read_text("utf-8").splitlines()):
        *_, step, picture = model.stream(prompt, seed=seed)
        assert isinstance(picture, Picture)
        latents.append(step.latents()[0])  # of the last step: what is decoded
        pictures.append(picture.pixels)
    return fit_factors(np.stack(latents), np.stack(pictures))


def main() -> None:
    for row in factors(StableDiffusion.from_preset("mini")).tolist():
        print(f"    ({', '.join(f'{factor:.4f}' for factor in row)}),")


if __name__ == "__main__":
    main()
