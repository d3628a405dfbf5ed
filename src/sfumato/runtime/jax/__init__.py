"""Programs for JAX: ``program``, and what it needs to keep executables on disk."""

from __future__ import annotations

from sfumato.runtime.jax.program import Program, compile

__all__ = ["Program", "compile"]
