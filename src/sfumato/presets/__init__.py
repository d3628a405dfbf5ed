"""The models that Sfumato knows by name: a row each."""

from __future__ import annotations

from sfumato.presets.table import PRESETS, Preset, find, public_name

__all__ = ["PRESETS", "Preset", "find", "public_name"]
