"""`devices="all"`: a batch on four devices, simulated in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tiny_model
from sfumato import StableDiffusion

HERE = Path(__file__).parent.parent

CODE = """
import sys
import jax
import numpy as np
import tiny_model
from sfumato import Picture, Step, StableDiffusion

assert jax.local_device_count() == 4
one = StableDiffusion(32, 32, preset=sys.argv[1])
all_ = StableDiffusion(32, 32, preset=sys.argv[1], devices="all")

def painted(model, **fields):
    request = {"negative_prompt": "blue", "guidance": 3, "seed": 7} | fields
    made = [*model.stream("a red apple", **request)]
    steps = [event for event in made if isinstance(event, Step)]
    return steps, [picture.pixels for picture in made if isinstance(picture, Picture)]

def compare(off=0, **fields):
    (steps, expected), (shared, found) = painted(one, **fields), painted(all_, **fields)
    assert len(found) == len(expected) == fields["count"]
    assert np.abs(np.int32(found) - np.int32(expected)).max() <= off
    assert [s.latents().shape for s in shared] == [s.latents().shape for s in steps]
    return shared

# Each device has one of the pictures, and all weights.
for step in compare(count=4, steps=2):
    assert step.denoised.sharding.shard_shape(step.denoised.shape)[0] == 1
for variable in all_.diffusion_model.variables:
    assert len(variable.value.sharding.device_set) == 4 and variable.value.is_fully_replicated

# One executable serves all, also a batch that does not divide.
compare(count=4, steps=3, sampler="heun", guidance=2)
compare(count=3, steps=3, sampler="euler_a", seed=1)
for program in (all_.parts.evaluate, all_.parts.decode):
    assert program.traces == 1
    assert [run._cache_size() for run in program.executables.values()] == [1]

# XLA adds up in another order in other shapes: a value may be rounded to the next one.
image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), "uint8")
mask = np.zeros((32, 32), "uint8")
mask[:16] = 255
compare(off=1, count=2, steps=2, image=image, mask=mask)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="the flag is read when a process starts")
def test_four_devices_paint_what_one_paints(tmp_path: Path):
    tiny_model.save(tmp_path / "model")
    # Compiled as for users, since bits are compared.
    flags = "--xla_force_host_platform_device_count=4"
    environment = os.environ | {"XLA_FLAGS": flags, "KERAS_BACKEND": "jax"}
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", CODE, str(tmp_path / "model")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_devices_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = str(tiny_model.save(tmp_path / "model"))
    with pytest.raises(ValueError, match="`devices` must be 'all' or None. Received: devices=2"):
        StableDiffusion(32, 32, preset=folder, devices=2)  # type: ignore[arg-type]
    monkeypatch.setattr("keras.backend.backend", lambda: "torch")
    with pytest.raises(ValueError, match="must be 'jax' .* KERAS_BACKEND='torch'"):
        StableDiffusion(32, 32, preset=folder, devices="all")
