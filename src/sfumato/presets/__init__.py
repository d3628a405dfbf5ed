"""The models that Sfumato knows by name: a row each."""

from __future__ import annotations

from sfumato.presets.preset import Preset
from sfumato.presets.table import PRESETS, find, of_file, public_name

__all__ = ["PRESETS", "Preset", "find", "of_file", "public_name"]
