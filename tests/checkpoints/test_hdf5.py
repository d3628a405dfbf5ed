"""Keras's legacy HDF5 files made to do harm."""

from __future__ import annotations

import tracemalloc

import h5py
import numpy as np
import pytest

from sfumato.checkpoints import CheckpointError
from sfumato.checkpoints.hdf5 import read_keras_h5


def skeleton(file: h5py.File) -> h5py.Group:
    """A file of one layer with one weight, which the caller puts there."""
    file.attrs["layer_names"] = [b"dense"]
    group = file.create_group("dense")
    group.attrs["weight_names"] = [b"dense/kernel:0"]
    return group.create_group("dense")


def plain(group: h5py.Group, path) -> None:
    group["kernel:0"] = np.ones((2, 3), "float32")


def external_link(group: h5py.Group, path) -> None:
    with h5py.File(path.with_name("other.h5"), "w") as other:
        other["secret"] = np.ones((2, 3), "float32")
    group["kernel:0"] = h5py.ExternalLink("other.h5", "/secret")


def soft_link(group: h5py.Group, path) -> None:
    group.file["elsewhere"] = np.ones((2, 3), "float32")
    group["kernel:0"] = h5py.SoftLink("/elsewhere")


def external_storage(group: h5py.Group, path) -> None:
    secret = path.with_name("secret.txt")
    secret.write_bytes(bytes(24))
    group.create_dataset("kernel:0", (2, 3), "float32", external=[(str(secret), 0, 24)])


def virtual(group: h5py.Group, path) -> None:
    layout = h5py.VirtualLayout((2, 3), "float32")
    layout[...] = h5py.VirtualSource(str(path.with_name("other.h5")), "secret", (2, 3))
    group.create_virtual_dataset("kernel:0", layout)


def bomb(group: h5py.Group, path) -> None:
    """A terabyte of zeros in a file of some kilobytes."""
    group.create_dataset("kernel:0", (2**20, 2**18), "float32", chunks=(1, 2**10), fillvalue=0)


def unwritten(group: h5py.Group, path) -> None:
    group.create_dataset("kernel:0", (2**20, 2**18), "float32")


def compressed(group: h5py.Group, path) -> None:
    group.create_dataset("kernel:0", data=np.zeros((99, 99), "float32"), compression="gzip")


def integers(group: h5py.Group, path) -> None:
    group["kernel:0"] = np.ones((2, 3), "int64")


def nested(group: h5py.Group, path) -> None:
    group.create_group("kernel:0")


def lost(group: h5py.Group, path) -> None:
    pass


BAD = {
    external_link: "ExternalLink",
    soft_link: "SoftLink",
    external_storage: "another file",
    virtual: "virtual",
    bomb: "chunks",
    unwritten: "never written",
    compressed: "compressed",
    integers: "dtype int64",
    nested: "not an array",
    lost: "kernel:0",
}


@pytest.mark.parametrize("write", BAD, ids=lambda write: write.__name__)
def test_bad_files_are_refused_before_memory_is_allocated(write, tmp_path):
    path = tmp_path / "bad.h5"
    with h5py.File(path, "w") as file:
        write(skeleton(file), path)
    tracemalloc.start()
    with pytest.raises(CheckpointError, match=BAD[write]):
        read_keras_h5(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 2**20


def test_a_sound_file_is_read_and_no_part_of_it(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        plain(skeleton(file), path)
    ((name, array),) = read_keras_h5(path)
    assert name == "dense/dense/kernel:0"
    np.testing.assert_array_equal(array, np.ones((2, 3)))
    whole = path.read_bytes()
    for stop in (0, 7, 100, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:stop])
        with pytest.raises(CheckpointError):
            read_keras_h5(path)


def test_a_linked_layer_and_names_that_climb_are_refused(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        plain(skeleton(file), path)
        file["alias"] = h5py.SoftLink("/dense")
        file.attrs["layer_names"] = [b"alias"]
    with pytest.raises(CheckpointError, match="SoftLink"):
        read_keras_h5(path)
    with h5py.File(path, "a") as file:
        file.attrs["layer_names"] = [b"dense/../dense"]
    with pytest.raises(CheckpointError, match="not one that Keras gives"):
        read_keras_h5(path)


def test_long_lists_of_names_that_keras_divides_are_joined(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        plain(skeleton(file), path)
        del file.attrs["layer_names"]
        file.attrs["layer_names0"] = [b"dense"]
        file.attrs["layer_names1"] = [b"dense"]
    assert len(read_keras_h5(path)) == 2


def test_other_hdf5_files_are_refused(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = np.ones(3, "float32")
    with pytest.raises(CheckpointError, match="layer_names"):
        read_keras_h5(path)
    path.write_bytes(b"not HDF5 at all")
    with pytest.raises(CheckpointError):
        read_keras_h5(path)
