"""A small Ray on this machine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Ray with three processors, for all tests that need it; its address."""
    from sfumato.scale.cluster import connect

    # Sockets have short paths, and workers find the fakes.
    with (
        tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("RAY_AUTH_TOKEN", "of-this-test")
        paths = [str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        connect("local", 3)  # what painted the tables ends a while later
        import ray

        yield ray.get_runtime_context().gcs_address
        ray.shutdown()
        with pytest.raises(ray.exceptions.RaySystemError, match="not been started"):
            ray.cluster_resources()  # which would start another one
