"""`sfumato.models.StableDiffusion`: the models where users of KerasCV look for them.

Importing this module imports Keras; `import sfumato` alone does not.
"""

from __future__ import annotations

from sfumato.stable_diffusion import StableDiffusion, StableDiffusionV2

__all__ = ["StableDiffusion", "StableDiffusionV2"]
