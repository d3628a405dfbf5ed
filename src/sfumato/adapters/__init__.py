"""Adapters: files that change a model's weights and are none themselves."""

from __future__ import annotations

from sfumato.adapters.in_use import NETWORKS, LorasInUse
from sfumato.adapters.lora import Lora, read_lora
from sfumato.adapters.merging import Merger, Use
from sfumato.adapters.names import Networks

__all__ = ["NETWORKS", "Lora", "LorasInUse", "Merger", "Networks", "Use", "read_lora"]
