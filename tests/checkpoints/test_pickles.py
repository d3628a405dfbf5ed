"""torch.save files against torch, and pickles made to do harm."""

from __future__ import annotations

import os
import pickle
import struct
import tracemalloc
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from sfumato.checkpoints import CheckpointError
from sfumato.checkpoints.pickles import read_pickle

WEIGHTS = {
    "half": torch.arange(12).reshape(3, 4).half(),
    "bfloat": torch.arange(3).bfloat16(),
    "turned": torch.arange(12.0).reshape(3, 4).T,
    "long": torch.arange(77)[None],
    "scalar": torch.tensor(4.5),
    "parameter": torch.nn.Parameter(torch.ones(2)),
    "none": torch.zeros(0, 3),
}


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("protocol", [2, 3])
def test_reads_what_torch_saves(wrap, protocol, tmp_path):
    path = tmp_path / "model.ckpt"
    state = OrderedDict(WEIGHTS)
    state._metadata = {"": {"version": 1}}  # as modules have it
    content = {"state_dict": state, "epoch": 3, "loss": np.float64(1.5)} if wrap else state
    torch.save(content, path, pickle_protocol=protocol)
    found = read_pickle(path)
    assert found.keys() == WEIGHTS.keys()
    for name, tensor in WEIGHTS.items():
        expected = tensor.detach().float().numpy()
        assert found[name].dtype.itemsize == tensor.element_size()
        np.testing.assert_array_equal(found[name].astype("float32"), expected, name)


def test_tensors_that_share_a_storage_are_views_of_it(tmp_path):
    whole = torch.arange(10.0)
    torch.save({"whole": whole, "part": whole[2:5]}, tmp_path / "x.pt")
    found = read_pickle(tmp_path / "x.pt")
    assert np.shares_memory(found["part"], found["whole"])
    np.testing.assert_array_equal(found["part"], [2, 3, 4])


def archive(path: Path, text: bytes, compress: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", compress) as file:
        file.writestr("archive/data.pkl", text)
        for name, data in members.items():
            file.writestr(f"archive/data/{name}", data)
    return path


class Runs:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
@pytest.mark.parametrize("function", [os.system, exec, getattr, torch.load])
def test_code_is_refused_and_not_run(function, protocol, tmp_path):
    mark = tmp_path / "mark"
    text = pickle.dumps({"a": Runs(function, f"touch {mark}")}, protocol)
    with pytest.raises(CheckpointError, match=r"without running code.*(asks for|indirectly)"):
        read_pickle(archive(tmp_path / "bad.ckpt", text))
    assert not mark.exists()


def tensor(shape: bytes, strides: bytes, offset: bytes = b"K\x00") -> bytes:
    """A pickle of one tensor of a storage of four floats."""
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000"
    storage += b"X\x03\x00\x00\x00cpuK\x04tQ"
    rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage
    return b"\x80\x02}X\x01\x00\x00\x00a" + rebuild + offset + shape + strides + b"\x89NtRs."


HUGE = b"\x8a\x08" + struct.pack("<q", 2**40)
BAD = {
    "exceeds its storage": tensor(b"K\x05\x85", b"K\x01\x85"),
    "of the shape (4,) exceeds": tensor(b"K\x04\x85", b"K\x01\x85", offset=b"K\x01"),
    "of the shape (2,) exceeds": tensor(b"K\x02\x85", b"K\x09\x85"),
    "of the shape (1099511627776,)": tensor(HUGE + b"\x85", b"K\x00\x85"),
    "a tensor has the shape": tensor(b"J\xff\xff\xff\xff\x85", b"K\x01\x85"),
    "and strides (1, 1)": tensor(b"K\x01\x85", b"K\x01K\x01\x86"),
    "it changes a function": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}"
    b"X\x0c\x00\x00\x00__defaults__)s\x86b.",
    "it changes a Float32DType": b"\x80\x02ctorch\nFloatStorage\n}b.",
    "it changes a type": b"\x80\x02ccollections\nOrderedDict\n}b.",
    "instruction EXT1": b"\x80\x02\x82\x01.",
    "instruction INST": b"(ios\nsystem\n.",
    "it refers to 'file'": b"\x80\x02(X\x04\x00\x00\x00fileNNtQ.",
    "holds no tensors at all": b"\x80\x02K\x01.",
    "no tensors": b"\x80\x02}.",
    "asks for `builtins.eval`": b"\x80\x02cbuiltins\neval\n.",
    "asks for `torch.load`": b"\x80\x02ctorch\nload\n.",
}


@pytest.mark.parametrize("message", BAD)
def test_bad_pickles_are_refused_before_memory_is_allocated(message, tmp_path):
    path = archive(tmp_path / "bad.ckpt", BAD[message], **{"0": bytes(16)})
    tracemalloc.start()
    with pytest.raises(CheckpointError) as error:
        read_pickle(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert message in str(error.value) or message == "no tensors"
    assert peak < 8 * 2**20


def test_the_tensor_of_these_pickles_is_read_where_it_is_sound(tmp_path):
    data = np.arange(4, dtype="float32").tobytes()
    path = archive(tmp_path / "x.ckpt", tensor(b"K\x02\x85", b"K\x02\x85"), **{"0": data})
    np.testing.assert_array_equal(read_pickle(path)["a"], [0, 2])


def test_archives_that_are_not_torchs_are_refused(tmp_path):
    path = tmp_path / "bad.ckpt"
    archive(path, bytes(4 * 2**20 + 1))
    with pytest.raises(CheckpointError, match="has 4194305 bytes, more than 4194304"):
        read_pickle(path)
    archive(path, pickle.dumps({}, 2), zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="compressed"):
        read_pickle(path)
    torch.save({"a": torch.ones(1000)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match="not a zip archive"):
        read_pickle(path)
    torch.save({"a": torch.ones(1000)}, path)
    whole = path.read_bytes()
    for stop in (1, 100, len(whole) // 2, len(whole) - 4):
        path.write_bytes(whole[:stop])
        with pytest.raises(CheckpointError):
            read_pickle(path)
