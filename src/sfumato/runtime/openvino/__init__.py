"""Programs for OpenVINO: ``program``, and everything that rewrites its models."""

from __future__ import annotations

from sfumato.runtime.openvino.memory import limit_memory, memory_left
from sfumato.runtime.openvino.program import Program, compile, quantize

__all__ = ["Program", "compile", "limit_memory", "memory_left", "quantize"]
