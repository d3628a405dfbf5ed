"""The bundled safety classifier."""

from __future__ import annotations
