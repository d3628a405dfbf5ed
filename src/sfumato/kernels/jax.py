"""Kernels for JAX."""

from __future__ import annotations

from sfumato.kernels.common import TAKES_VIEWS, TRAINS, empty, restore, store

__all__ = ["TAKES_VIEWS", "TRAINS", "empty", "restore", "store"]
