"""The cache of compiled programs: on, moved, off, damaged, shared."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PROGRAM = """
    import numpy as np
    from jax import monitoring
    from sfumato import runtime

    events = []
    monitoring.register_event_listener(lambda name, **_: events.append(name))
    double = runtime.compile(lambda x: 2 * x, [], True)
    assert np.asarray(double(np.ones(3, "float32"))).tolist() == [2, 2, 2]
    print("hit" if "/jax/compilation_cache/cache_hits" in events else "miss")
"""


def start(cache: str | None, home: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "KERAS_BACKEND": "jax", "XDG_CACHE_HOME": str(home)}
    environment.pop("SFUMATO_COMPILE_CACHE", None)
    if cache is not None:
        environment["SFUMATO_COMPILE_CACHE"] = cache
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def run(cache: str | None, home: Path) -> str:
    process = start(cache, home)
    out, _ = process.communicate()
    assert process.returncode == 0
    return out.strip()


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the user's folder is another")
def test_the_cache_is_in_the_users_folder_by_default(tmp_path: Path) -> None:
    assert run(None, tmp_path) == "miss"
    assert files(tmp_path / "sfumato" / "compiled" / "jax")
    assert run(None, tmp_path) == "hit"


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    assert run("off", tmp_path) == "miss"
    assert not (tmp_path / "sfumato").exists()


def test_it_can_be_moved_and_damage_is_not_fatal(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    assert run(str(folder), tmp_path) == "miss"
    assert run(str(folder), tmp_path) == "hit"
    for path in files(folder):
        if path.name.endswith("-cache"):
            path.write_bytes(b"not a program")
    assert run(str(folder), tmp_path) == "miss"


def test_two_processes_may_share_it(tmp_path: Path) -> None:
    processes = [start(str(tmp_path / "shared"), tmp_path) for _ in range(2)]
    assert [process.communicate()[0].strip() in ("hit", "miss") for process in processes] == [
        True
    ] * 2
    assert [process.returncode for process in processes] == [0, 0]
