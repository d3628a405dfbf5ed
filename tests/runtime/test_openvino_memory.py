"""The memory that is left: of the machine, or of the group of processes that is limited most."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfumato.runtime.openvino import limit_memory, memory_left

MIB = 2**20

pytestmark = pytest.mark.backend("openvino")


@pytest.fixture
def system(tmp_path: Path):
    """A system's files: `system({FILE: TEXT}, GROUPS)` -> the bytes that are left."""

    def left(files: dict[str, str], own: str | None) -> int:
        groups, process = tmp_path / "cgroup", tmp_path / "own"
        for name, text in files.items():
            path = groups / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        if own is not None:
            process.write_text(own)
        return memory_left(groups, process)

    return left


def test_without_a_limit_it_is_that_of_the_machine(system) -> None:
    free = memory_left()
    assert 2**26 < free < 2**50
    for own in (None, "", "0::/job\n", "4:memory:/job\n0::/\n"):
        assert system({"memory.max": "max", "job/memory.max": "max"}, own) > free / 2


@pytest.mark.parametrize("own", [None, "0::/\n", "0::/elsewhere\n", "5:cpu:/a\n0::/../a\n"])
def test_a_container_whose_group_is_the_root(system, own) -> None:
    assert system({"memory.max": f"{MIB}"}, own) == MIB


JOB = "system.slice/slurmstepd.scope/job_7/step_0"


@pytest.mark.parametrize("limited", [JOB, "system.slice/slurmstepd.scope/job_7", "system.slice"])
def test_the_limit_of_a_job_or_of_what_is_around_it(system, limited) -> None:
    files = {f"{JOB}/memory.max": "max", "memory.max": "max", "system.slice/memory.max": "max"}
    files |= {f"{limited}/memory.max": f"{MIB}", "other.slice/memory.max": "1"}
    assert system(files, f"0::/{JOB}\n") == MIB


def test_the_tightest_limit_counts(system) -> None:
    files = {"a/memory.max": f"{3 * MIB}", "a/b/memory.max": f"{2 * MIB}", "memory.max": "max"}
    assert system(files, "0::/a/b\n") == 2 * MIB
    assert system(files, "0::/a\n") == 3 * MIB
    assert system(files | {"a/b/memory.high": f"{MIB}"}, "0::/a/b\n") == MIB


def test_version_1_names_the_controller(system) -> None:
    own = "9:name=systemd:/x\n4:cpu,memory:/slurm/job_7\n0::/\n"
    files = {"memory/slurm/memory.limit_in_bytes": f"{MIB}"}
    none = f"{2**63 - 4096}"  # how version 1 says that there is no limit
    files |= {"memory/slurm/job_7/memory.limit_in_bytes": none}
    files |= {"memory/memory.limit_in_bytes": none, "memory/x/memory.limit_in_bytes": "1"}
    assert system(files, own) == MIB
    assert system({"memory/slurm/memory.limit_in_bytes": none}, own) > MIB
    # A container of version 1 sees its own group as the root.
    assert system({"memory/memory.limit_in_bytes": f"{MIB}"}, "4:memory:/docker/7\n") == MIB


def test_a_limit_of_ones_own() -> None:
    try:
        limit_memory(MIB)
        assert memory_left() == MIB
        for wrong in ("4 GB", -1, 0.5, True):
            with pytest.raises(ValueError, match="`most` must be a whole number from 0"):
                limit_memory(wrong)  # pyright: ignore[reportArgumentType]
    finally:
        limit_memory(None)
    assert memory_left() > MIB
