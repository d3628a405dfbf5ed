"""Adapters: files that change a model's weights or words and are no models themselves."""

from __future__ import annotations
