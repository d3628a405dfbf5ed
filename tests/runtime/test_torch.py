"""Programs for PyTorch: when they are traced, and that it makes no difference."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

SCRIPT = """
    from functools import partial
    import numpy as np
    from sfumato import programs, runtime
    from sfumato.networks.autoencoder import ImageDecoder
    from sfumato.networks.configs import AutoencoderConfig
    from sfumato.runtime import torch

    torch.EAGER = 2
    network = ImageDecoder(AutoencoderConfig(channels=(8, 16), layers=1, groups=4))
    network.initialize(0)
    program = runtime.compile(partial(programs.decode, network), [network], True)
    x = np.random.default_rng(0).random((1, 8, 6, 4), "float32")
    pictures = []
    for call in range(4):
        pictures.append(program(x)[0].numpy())
        assert len(program.graphs) == (call >= 2)
    assert len({picture.tobytes() for picture in pictures}) == 1
    assert len(np.unique(pictures[0])) > 10
    program(x[:, :4])
    assert len(program.graphs) == 1  # another shape is counted by itself
"""


def test_a_program_is_traced_when_that_pays_and_gives_the_same_bytes() -> None:
    environment = {**os.environ, "KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(SCRIPT)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
