"""The safetensors format against its own library, and files made to do harm."""

from __future__ import annotations

import json
import time
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from sfumato.checkpoints import CheckpointError
from sfumato.checkpoints.safetensors import read_safetensors, write_safetensors

TENSORS = {
    "a.weight": np.arange(12, dtype="float16").reshape(3, 4),
    "b": np.array(2.5, "float32"),
    "c": np.arange(5, dtype="int8"),
    "d": np.zeros((0, 3), "float32"),
    "e": np.arange(3, dtype="float32").astype(ml_dtypes.bfloat16),
}


def test_reads_what_the_library_writes(tmp_path):
    path = tmp_path / "x.safetensors"
    tensors = {name: torch.from_numpy(TENSORS[name].copy()) for name in "bcd"}
    tensors["e"] = torch.arange(3).to(torch.bfloat16)
    safetensors.torch.save_file(tensors, path, {"format": "pt"})
    found = read_safetensors(path)
    assert found.keys() == tensors.keys()
    for name in "bcde":
        assert found[name].dtype == TENSORS[name].dtype
        np.testing.assert_array_equal(found[name], TENSORS[name])


def test_the_library_reads_what_is_written(tmp_path):
    path = tmp_path / "x.safetensors"
    write_safetensors(path, TENSORS, {"title": "é"})
    found = safetensors.torch.load_file(path)
    for name, tensor in TENSORS.items():
        np.testing.assert_array_equal(found[name].float(), tensor.astype("float32"))
    with safe_open(path, "np") as file:
        assert file.metadata() == {"format": "pt", "title": "é"}
    assert [each.name for each in tmp_path.iterdir()] == ["x.safetensors"]


def test_reading_allocates_nothing_for_the_tensors(tmp_path):
    path = tmp_path / "x.safetensors"
    write_safetensors(path, {"big": np.zeros(2**22, "float32")})
    tracemalloc.start()
    found = read_safetensors(path)["big"]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20
    assert not found.flags.writeable


def file_of(header: bytes | dict, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(begin: int, stop: int, shape: list, dtype: str = "F32") -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, stop]}


BAD = {
    "ends within the header's length": b"\x00\x00",
    "header claims 9223372036854775807": file_of(b"{}", length=2**63 - 1),
    "header claims 5242880 bytes, more than 4194304": file_of(b"{}", length=5 * 2**20),
    "header claims 1000 bytes and": file_of(b"{}", length=1000),
    "Expecting": file_of(b"{"),
    "not a JSON object": file_of(b"[]"),
    "recursion": file_of(b"[" * 100_000),
    "'a' appears twice": file_of(b'{"a":1,"a":2}'),
    "'dtype' appears twice": file_of(b'{"a":{"dtype":"F32","dtype":"F16"}}'),
    "'a' lacks|'a' lacks a dtype": file_of({"a": 3}),
    "unknown dtype 'F17'": file_of({"a": entry(0, 4, [1], "F17")}, bytes(4)),
    "must be whole numbers": file_of({"a": entry(0, 4, [1.0])}, bytes(4)),
    "of 'a' must be": file_of({"a": entry(0, 4, [-1])}, bytes(4)),
    "shape and offsets of 'b'": file_of({"b": entry(True, 4, [1])}, bytes(4)),
    "'b' overlaps": file_of({"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}, bytes(12)),
    "'b' leaves a hole": file_of({"a": entry(0, 4, [1]), "b": entry(8, 12, [1])}, bytes(12)),
    "'a' leaves a hole": file_of({"a": entry(4, 8, [1])}, bytes(8)),
    r"'a' has 4 bytes for float32 \(2,\)": file_of({"a": entry(0, 4, [2])}, bytes(4)),
    "'a' has 4 bytes": file_of({"a": entry(0, 4, [2**62, 2**62, 0, 5, 2])}, bytes(4)),
    "it is cut off, with": file_of({"a": entry(0, 2**42, [2**20, 2**20])}, bytes(16)),
    "lie outside the file": file_of({"a": entry(0, 2**50, [2**24, 2**24])}, bytes(16)),
    "is not one of a weight": file_of({"a": entry(0, 0, [2**63, 0])}),
    "the shape": file_of({"a": entry(0, 4, [1] * 9)}, bytes(4)),
    "end at byte": file_of({"a": entry(0, 4, [1])}, bytes(8)),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_files_are_refused_before_memory_is_allocated(message, tmp_path):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(BAD[message])
    tracemalloc.start()
    with pytest.raises(CheckpointError, match=f"(?i){message}"):
        read_safetensors(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 2**20


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path):
    path = tmp_path / "x.safetensors"
    write_safetensors(path, TENSORS)
    whole = path.read_bytes()
    for stop in range(0, len(whole), 7):
        path.write_bytes(whole[:stop])
        with pytest.raises(CheckpointError):
            read_safetensors(path)


@given(st.binary(max_size=64), st.integers(0, 200))
def test_noise_in_the_file_never_does_more_than_an_error(tmp_path_factory, noise, at):
    path = tmp_path_factory.mktemp("noise") / "x.safetensors"
    write_safetensors(path, TENSORS)
    whole = bytearray(path.read_bytes())
    whole[at : at + len(noise)] = noise
    path.write_bytes(whole)
    try:
        found = read_safetensors(path)
    except CheckpointError:
        return
    assert sum(tensor.nbytes for tensor in found.values()) <= len(whole)


def test_an_interrupted_write_leaves_no_file(tmp_path):
    class Breaks(dict):
        def values(self):
            yield TENSORS["a.weight"]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_safetensors(tmp_path / "x.safetensors", Breaks(TENSORS))
    assert not list(tmp_path.iterdir())


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "x.safetensors"

    class Slow(dict):
        def values(self):
            write_safetensors(path, {"a": TENSORS["b"]})  # another process, in the meantime
            return super().values()

    write_safetensors(path, Slow(TENSORS))
    assert read_safetensors(path).keys() == TENSORS.keys()
    assert [each.name for each in tmp_path.iterdir()] == ["x.safetensors"]


def test_a_name_that_is_twice_among_many_is_found_in_linear_time(tmp_path):
    path = tmp_path / "x.safetensors"
    names = [*map(str, range(100_000)), "twice", "twice"]
    path.write_bytes(file_of(("{" + ",".join(f'"{name}":0' for name in names) + "}").encode()))
    start = time.perf_counter()
    with pytest.raises(CheckpointError, match="'twice' appears twice"):
        read_safetensors(path)
    assert time.perf_counter() - start < 2  # quadratic time would be minutes
