"""Several threads on one model, as web servers have them: one waits for the other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest

import tiny_model
from sfumato import runtime
from tiny_model import paint

pytestmark = pytest.mark.backend("jax", "tensorflow", "torch", "openvino")

PROMPTS = ["a red apple", "a blue boat", "a cat", "a tree"] * 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.save(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(autouse=True)
def graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFUMATO_COMPILE_CACHE", "off")  # for nothing is traced to read one
    if keras.backend.backend() == "torch":  # traced while other threads paint
        monkeypatch.setattr("sfumato.runtime.torch.EAGER", 4)


def test_threads_paint_what_one_paints(folder: Path) -> None:
    made = [tiny_model.load(folder) for _ in range(2)]
    with ThreadPoolExecutor(6) as pool:  # nothing is loaded yet, and three want each
        found = list(pool.map(lambda i: paint(made[i % 2], PROMPTS[i]), range(len(PROMPTS))))
    for i, picture in enumerate(found):
        alone = paint(made[0], PROMPTS[i])
        assert np.abs(picture.astype(int) - alone).max() <= 1
    assert not np.array_equal(found[0], found[1])
    for parts in (model.parts for model in made):
        if keras.backend.backend() in ("jax", "openvino"):
            assert parts.evaluate.traces == parts.encode_text.traces == 1  # by one thread alone


def test_the_latest_used_are_kept() -> None:
    kept: dict[int, str] = {}
    made: list[int] = []

    def value(key: int) -> str:
        def make() -> str:
            made.append(key)
            return str(key)

        return runtime.recent(kept, key, make, 3)

    assert [value(key) for key in (1, 2, 3, 1, 4, 1, 2)] == [*"1231412"]
    assert made == [1, 2, 3, 4, 2]
    assert [*kept] == [4, 1, 2]


@pytest.mark.backend("jax")
def test_executables_of_many_sizes_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfumato.runtime.jax.program.KEPT", 2)
    program = runtime.compile(lambda x: 2 * x, [], True)
    for size in (1, 2, 3, 1):
        assert (program(np.ones(size, "float32")) == 2).all()
    assert len(program.executables) == 2
