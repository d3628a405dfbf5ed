"""The tests of one Keras backend other than JAX, in a process of its own.

Every case is reported by its name, as if it were run here. Each backend has a file, because
pytest-xdist gives a file to one process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from backend_marks import MARK, backends_of

TESTS = Path(__file__).parent


def run(backend: str, folder: Path, subtests: pytest.Subtests, pytestconfig: pytest.Config) -> None:
    """Run all files that are marked with the backend; what they report is written to a folder."""
    marked = [file for file in sorted(TESTS.rglob("test_*.py")) if MARK.search(file.read_text())]
    files = [file for file in marked if backend in backends_of(file)]
    report = folder / "report.xml"
    options = ["-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    options += ["-m", f"backend and ({pytestconfig.option.markexpr or 'backend'})"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *files],
        env=environment_of(backend),
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.exists(), done.stdout[-4000:] + done.stderr[-4000:]

    cases = [*ET.parse(report).iter("testcase")]
    assert cases
    for case in cases:
        with subtests.test(f"{case.get('classname')}.{case.get('name')}"):
            for problem in case:
                if problem.tag in ("failure", "error"):
                    pytest.fail(problem.text or problem.get("message", ""), pytrace=False)
                if problem.tag == "skipped":
                    pytest.skip(problem.get("message", ""))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def environment_of(backend: str) -> dict[str, str]:
    return {
        **os.environ,
        "KERAS_BACKEND": backend,
        "PYTEST_ADDOPTS": "",  # one process is enough
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "OMP_NUM_THREADS": "1",  # the networks are small: threads would wait for each other
    }
