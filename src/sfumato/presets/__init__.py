"""The models that Sfumato knows by name: a row each."""

from __future__ import annotations

from sfumato.presets.table import PRESETS, Preset, find

__all__ = ["PRESETS", "Preset", "find"]
