"""The interface of KerasCV's `StableDiffusion`, for code that was written for it."""

from __future__ import annotations

from sfumato.kerascv.methods import KerasCVMethods

__all__ = ["KerasCVMethods"]
