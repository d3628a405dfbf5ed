"""The bundled upscaler."""

from __future__ import annotations
