"""The recipe on PyTorch: it learns, and it and JAX go on with each other's checkpoints."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_drawings import toy_pack
from toy_line import learn

from recipes.mini import autoencoder, denoiser, pack, turbo
from recipes.mini.config import TOY
from recipes.mini.training import Trainer

pytestmark = pytest.mark.backend("torch")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Maps so small are slower in several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def learn_on_jax(folder: Path, steps: int) -> None:
    here = Path(__file__).parent
    paths = (here, here.parents[1], here.parents[1] / "src")
    environment = os.environ | {
        "KERAS_BACKEND": "jax",
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
    }
    command = [sys.executable, str(here / "toy_line.py"), str(folder), str(steps)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]


def test_a_checkpoint_goes_to_jax_and_back(tmp_path: Path):
    """Weights, average and the optimizer's state are those of a training on PyTorch alone."""
    learn(tmp_path / "both", 4)
    learn_on_jax(tmp_path / "both", 8)
    both, alone = learn(tmp_path / "both", 12), learn(tmp_path / "alone", 12)
    assert both.step == int(both.optimizer.iterations) == 12
    with np.load(both.path) as one, np.load(alone.path) as other:
        assert set(one.files) == set(other.files)
        for name in set(one.files) - {"seconds", "optimizer/1"}:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_all_stages_learn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    reports: dict[str, list[float]] = {}

    def note(trainer: Trainer, means: dict | None) -> None:
        seen = reports.setdefault(trainer.path.parent.name, [])
        seen += [float(next(iter(means.values())))] if means else []

    monkeypatch.setattr(Trainer, "report", note)
    pack.write(tmp_path / "drawings.npz", toy_pack(TOY.size))
    config = replace(
        TOY,
        autoencoder_training=replace(TOY.autoencoder_training, steps=12),
        denoiser_training=replace(TOY.denoiser_training, steps=20),
        turbo_training=replace(TOY.turbo_training, steps=4),
    )
    for stage in (autoencoder, denoiser, turbo):
        stage.train(config, tmp_path)
    assert reports["autoencoder"][-1] < 0.9 * reports["autoencoder"][0]
    assert reports["denoiser"][-1] < 0.9 * reports["denoiser"][0]
    assert len(reports["turbo"]) == 1
