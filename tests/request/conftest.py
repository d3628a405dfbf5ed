"""What tests of requests share."""

from __future__ import annotations

import numpy as np
import pytest
from request_samples import IMAGE, MASK, write_word

from sfumato.pictures import save


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save("image.png", IMAGE)
    save("mask.png", np.repeat(MASK[..., None], 3, axis=-1))
    (tmp_path / "lists/colours").mkdir(parents=True)
    (tmp_path / "words").mkdir()
    write_word(tmp_path / "words")
    (tmp_path / "lists/colours/warm.txt").write_text("# warm\nred\n\namber\n")
