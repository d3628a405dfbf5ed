"""What a request needs to know of a model, without one."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


@dataclass(frozen=True)
class FakeSettings:
    """A model's own way of painting."""

    name: str = "mini"
    steps: int = 4
    guidance: float = 6.5
    sampler: str = "dpmpp_2m"
    default_size: int = 16
    noise: dict[str, Any] = field(default_factory=dict)
    sees_masks: bool = False
    edits_pictures: bool = False
    autoencoder_config: Any = field(default_factory=lambda: SimpleNamespace(downsampling=8))
    decoder_name: str | None = None
    embeds_guidance: bool = False
    family: Any = field(
        default_factory=lambda: SimpleNamespace(
            reads_any_layer=True, freeu=(0.9, 0.2, 1.5, 1.6), apg=(0.0, -0.75, 7.5)
        )
    )
    checkpoint: Any = field(
        default_factory=lambda: SimpleNamespace(
            text_encoder_config=lambda part: SimpleNamespace(layers=12),
            unet_config=lambda: SimpleNamespace(mid=(True,)),
        )
    )

    @property
    def use(self) -> Any:
        return SimpleNamespace(options=(), timesteps=())

    def schedule_for(self, sampler: str | None) -> str | None:
        return "sgm_uniform" if sampler is None else None
