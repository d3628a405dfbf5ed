"""Several devices: a thread and models for each of them, and one queue."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_painters import Studio

import tiny_model
from sfumato.request import Request

HERE = Path(__file__).parent

CODE = """
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import jax
from sfumato.server.service import Service
from sfumato.server.settings import read_settings

folder = Path({folder!r})
service = Service(read_settings(models=[f"tiny={{folder / 'model'}}"], folder=folder / "kept"))

def places(models):
    with models.on_device():
        network = models.open("tiny").model.parts.decoder
        variable = network.variables[0].value
        return variable.devices() | jax.jit(lambda x: x + 1)(variable).devices()

shelves = [worker.models for worker in service.workers]
with ThreadPoolExecutor(2) as pool:
    assert [*pool.map(places, shelves)] == [{{device}} for device in jax.local_devices()]
service.stop()
print(len(shelves))
"""


def test_devices_work_side_by_side(open_studio: Callable[..., Studio]):
    studio = open_studio(devices=2, batch=1)
    studio.painter.gate.clear()
    jobs = [studio.service.submit(Request(prompt="x", steps=2, seed=i)) for i in range(3)]
    studio.service.start()
    until = time.monotonic() + 10
    while len(studio.painter.batches) < 2:
        assert time.monotonic() < until
    assert [job.state for job in jobs] == ["running", "running", "queued"]
    assert studio.service.is_alive
    studio.painter.gate.set()
    assert all(job.wait(10) for job in jobs)
    studio.service.drain(5)
    assert not any(worker.is_alive() for worker in studio.service.workers)


@pytest.mark.skipif(os.name != "posix", reason="the flag is read when a process starts")
def test_each_device_has_its_own_weights(tmp_path: Path):
    tiny_model.save(tmp_path / "model")
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    environment = os.environ | {"XLA_FLAGS": flags.strip(), "KERAS_BACKEND": "jax"}
    code = CODE.format(folder=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
