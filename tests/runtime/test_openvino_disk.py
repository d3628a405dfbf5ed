"""Executables of OpenVINO on disk."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino_networks
import pytest
from openvino_networks import dense, result_of, unet_result

pytestmark = pytest.mark.backend("openvino")


def test_second_process_imports(tmp_path: Path, folder: Path, counts: Counter[str]) -> None:
    result = unet_result()
    assert counts == {"compile_model": 1}
    out = tmp_path / "second.npz"
    subprocess.run([sys.executable, "-W", "error", openvino_networks.__file__, out], check=True)
    with np.load(out) as second:
        assert dict(zip(second["names"], second["counts"], strict=True)) == {"import_model": 1}
        np.testing.assert_array_equal(second["result"], result)
    assert len(list(folder.iterdir())) == 1


def flip(entry: bytes) -> bytes:
    middle = len(entry) // 2
    return entry[:middle] + bytes([entry[middle] ^ 1]) + entry[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [flip, lambda entry: entry[:-100], lambda _: b"", lambda entry: b"another program" + entry],
    ids=["flipped", "cut", "empty", "foreign"],
)
def test_damaged_entry_is_replaced(
    damage: Callable[[bytes], bytes], folder: Path, counts: Counter[str]
) -> None:
    result = result_of(dense())
    (entry,) = folder.iterdir()
    entry.write_bytes(damage(entry.read_bytes()))
    np.testing.assert_array_equal(result_of(dense()), result)
    assert counts == {"compile_model": 2}
    np.testing.assert_array_equal(result_of(dense()), result)
    assert counts == {"compile_model": 2, "import_model": 1}
    assert list(folder.iterdir()) == [entry]


def test_intact_entry_that_cannot_be_imported(folder: Path, counts: Counter[str]) -> None:
    from sfumato.runtime import cache

    result = result_of(dense())
    (entry,) = folder.iterdir()
    cache.write(entry, b"no executable")
    np.testing.assert_array_equal(result_of(dense()), result)
    assert counts == {"compile_model": 2, "import_model": 1}


def test_other_weights_are_another_entry(folder: Path) -> None:
    layer = dense()
    first = result_of(layer)
    layer.bias.assign(np.ones(2))
    np.testing.assert_allclose(result_of(layer), first + 1)
    assert len(list(folder.iterdir())) == 2


def test_large_networks_are_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sfumato.runtime.openvino import disk

    monkeypatch.setattr(disk, "LARGE", 10)
    result_of(dense())
    assert not folder.exists()


def test_cache_can_be_off_or_unwritable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFUMATO_COMPILE_CACHE", "off")
    result = result_of(dense())
    (tmp_path / "file").touch()
    monkeypatch.setenv("SFUMATO_COMPILE_CACHE", str(tmp_path / "file"))
    np.testing.assert_array_equal(result_of(dense()), result)
