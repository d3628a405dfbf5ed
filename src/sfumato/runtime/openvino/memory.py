"""The memory that programs for OpenVINO may count on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

import psutil

from sfumato._numbers import whole_number

# The files with a group's limit, by the controller that the system names: version 2 names none.
LIMITS = {"": ("memory.max", "memory.high"), "memory": ("memory.limit_in_bytes",)}

_limit: int | None = None


def limit_memory(most: int | None) -> None:
    """Let programs compiled from now on use memory as if at most so many bytes were left.

    Where little is left, kernels of convolutions are transformed at every call instead of once:
    less memory, more time, the same picture but for rounding. None: no limit but the machine's.
    """
    global _limit  # noqa: PLW0603 (a setting of the process)
    _limit = None if most is None else whole_number("most", most, 0)


def memory_left(
    groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> int:
    """Bytes that the machine has left, but not more than this process may have at all.

    Linux limits the memory of groups of processes: a container, a job of SLURM, a service of
    systemd. A group lies in another, and the tightest limit counts.

    Args:
        groups: the folder where the system shows its groups.
        own: the file that says which of them this process is in.
    """
    found = [psutil.virtual_memory().available]
    for file in _limits(groups, own):
        with suppress(OSError, ValueError):  # not there, or "max"
            found.append(int(file.read_text()))
    return min(found if _limit is None else [*found, _limit])


def _limits(groups: Path, own: Path) -> Iterator[Path]:
    """The files with a limit for this process: those of its groups and of all around them."""
    places = dict.fromkeys(LIMITS, "/")  # the root, where the own group is not to be seen
    with suppress(OSError):  # not on Linux
        for line in own.read_text().splitlines():
            _, controllers, place = line.split(":", 2)
            places |= {name: place for name in controllers.split(",") if name in places}
    for controller, place in places.items():
        group = PurePosixPath(place)
        for folder in (group, *group.parents):
            inside = groups / controller / folder.relative_to("/")
            yield from (inside / name for name in LIMITS[controller])
