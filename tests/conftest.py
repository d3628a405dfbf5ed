"""What all tests share: the package under test, and the promise that no test is skipped in CI."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

from backend_marks import backends_of, is_here

SRC = Path(__file__).parent.parent / "src"

# An installed sfumato is what users get, so it is what is tested. A bare checkout works as well,
# also in the processes that tests start.
if find_spec("sfumato") is None:
    sys.path.insert(0, str(SRC))
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(SRC), *filter(None, [os.environ.get("PYTHONPATH")])]
    )

# The tests run on JAX, whatever Sfumato would choose here, because it also trains. Those of other
# backends are run by `test_on_...`, or by hand: `KERAS_BACKEND=torch pytest -m backend`.
os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("MPLBACKEND", "agg")
# Reference implementations must not look for newer files, and no test may need the network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# Most of the time of the tests is XLA's, for programs that run a few times. They compute the same
# without LLVM's optimisations. One thread generates code: each process that tests has one core.
# XLA's older generator of fused loops takes half as long; JAX 0.11 has it no longer. (Processes
# that tests start inherit it, and TensorFlow's XLA reads it, too.)
_flags = ["--xla_backend_optimization_level=0", "--xla_cpu_parallel_codegen_split_count=1"]
if version("jax").startswith("0.10."):
    _flags.append("--xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("XLA_FLAGS", " ".join(_flags))

# What is compiled for tests is nothing to keep, and no test may depend on an earlier run. The
# processes of one run share it.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _compiled = tempfile.TemporaryDirectory()  # deleted when the process ends
    os.environ["SFUMATO_COMPILE_CACHE"] = _compiled.name

# A busy machine is no failure. (Where the variable CI is set, hypothesis draws the same examples
# in every run.)
settings.register_profile("sfumato", settings.default, deadline=None)
settings.load_profile("sfumato")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the files of other backends."""
    if collection_path.suffix != ".py" or is_here(names := backends_of(collection_path)):
        return None
    asked = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    if collection_path in asked:
        raise pytest.UsageError(
            f"KERAS_BACKEND must be one of {', '.join(names)} for {collection_path.name}. "
            f"Received: KERAS_BACKEND={os.environ['KERAS_BACKEND']}"
        )
    return True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out single tests of other backends in files of this one; the longest tests go first.

    So where several processes test, one of them is not left alone with these at the end.
    """
    items.sort(key=lambda item: not item.path.name.startswith("test_on_"))
    marks = {item: item.get_closest_marker("backend") for item in items}
    others = [item for item, mark in marks.items() if mark and not is_here(mark.args)]
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in set(others)]


def pytest_collection_finish() -> None:
    """Have the garbage collector pass over what is imported: a quarter of the time went there."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """With SFUMATO_NO_SKIP=1 a skipped test is a failure: an absent judge judged nothing."""
    if os.environ.get("SFUMATO_NO_SKIP") != "1" or exitstatus != pytest.ExitCode.OK:
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and reporter.stats.get("skipped"):
        reporter.write_line("SFUMATO_NO_SKIP=1: skipped tests count as failures", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
