"""One small model of the 1.x family for all tests of the pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest
import small_pipelines

from sfumato.stable_diffusion import StableDiffusion


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_pipelines.save("1.x", tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def model(folder: Path) -> StableDiffusion:
    return StableDiffusion(64, 48, preset=str(folder))
