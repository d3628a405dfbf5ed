"""Adapters: files that change a model's weights and are none themselves."""

from __future__ import annotations

from sfumato.adapters.lora import Lora, read_lora
from sfumato.adapters.names import Networks

__all__ = ["Lora", "Networks", "read_lora"]
