"""The memory that programs for OpenVINO may count on."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil

_limit: int | None = None


def limit_memory(most: int | None) -> None:
    """Let programs compiled from now on use memory as if at most so many bytes were left.

    Where little is left, kernels of convolutions are transformed at every call instead of once:
    less memory, more time, the same picture but for rounding. None: no limit but the machine's.
    """
    global _limit  # noqa: PLW0603 (a setting of the process)
    _limit = most


def memory_left(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that the machine has left, but not more than a container may have at all."""
    found = [psutil.virtual_memory().available]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # of versions 2 and 1
        with suppress(OSError, ValueError):  # not in a container of Linux, or "max"
            found.append(int((groups / name).read_text()))
    return min(found if _limit is None else [*found, _limit])
