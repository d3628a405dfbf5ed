"""PyTorch's ``.ckpt``, ``.pt`` and ``.bin`` files, read without running what a pickle can run.

Such a file is a zip archive: ``data.pkl`` says how to put tensors together, ``data/N`` holds their
bytes. Only those instructions are followed that make dictionaries, numbers, texts and tensors.
Every other name in the pickle is refused, before a single instruction is carried out.
"""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import ml_dtypes
import numpy as np

from sfumato.checkpoints import nature
from sfumato.checkpoints.tensors import CheckpointError, Tensors, map_file, view

MAX_PICKLE = 4 * 2**20
"""Longest pickle accepted, in bytes, as its objects take many times that. 1.5's has 0.3 MB."""

WRAPPERS = ("state_dict", "params_ema", "params-ema", "params")
"""Names under which a checkpoint, or an upscaler, has its tensors; averaged ones come first."""

STORAGES = {
    "DoubleStorage": np.dtype(np.float64),
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
}


class Ignored:
    """A stand-in for objects of a training run that a checkpoint drags along."""

    def __init__(self, *_args: Any, **_options: Any) -> None: ...

    def __setstate__(self, _state: Any) -> None: ...


class Parameters(Ignored):
    """A stand-in for PyTorch's ``ParameterDict``: its tensors by name."""

    items: Mapping[str, Any] = MappingProxyType({})

    def __setstate__(self, state: Any) -> None:
        named = state.get("_parameters") if isinstance(state, dict) else None
        self.items = dict(named) if isinstance(named, dict) else {}


IGNORED = {
    ("__builtin__", "set"),
    ("builtins", "set"),
    ("_codecs", "encode"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint"),
    ("pytorch_lightning.utilities.argparse", "AttributeDict"),
}


def read_pickle(path: str | os.PathLike[str]) -> Tensors:
    """All tensors of a ``torch.save`` file, as views of it.

    Raises:
        CheckpointError: the file is not a zip archive of PyTorch 1.6 or later, is compressed or
            damaged, or its pickle names anything but tensors.
    """
    path = Path(path)
    return state_of(path, read_content(path))


def read_content(path: Path) -> Any:
    """What a ``torch.save`` file holds: dictionaries, lists, numbers, texts, tensors.

    Raises:
        CheckpointError: see ``read_pickle``.
    """
    try:
        return _Archive(path).load()
    except CheckpointError:
        raise
    except (
        *(ValueError, KeyError, IndexError, TypeError, AttributeError, EOFError),
        *(RecursionError, UnicodeDecodeError, MemoryError),
        *(zipfile.BadZipFile, NotImplementedError, pickle.UnpicklingError),
    ) as error:
        raise CheckpointError(
            f"`{path}` cannot be read as a PyTorch checkpoint without running code: {error}. "
            "Use the model's .safetensors file."
        ) from error


class _Archive:
    """The zip archive and its mapped bytes."""

    def __init__(self, path: Path) -> None:
        self.raw = map_file(path)
        if self.raw[:2].tobytes() != b"PK":
            is_pickle = self.raw[0] == 0x80
            by = "; PyTorch before 1.6 wrote such pickles" if is_pickle else ""
            raise ValueError(f"it is not a zip archive{by}")
        try:
            with zipfile.ZipFile(path) as archive:
                self.members = {member.filename: member for member in archive.infolist()}
        except zipfile.BadZipFile as error:
            raise ValueError(f"it is cut off ({error}): download it again") from error
        names = [n for n in self.members if f"/{n}".endswith("/data.pkl")]
        if len(names) != 1:
            raise ValueError("it is a zip archive that PyTorch did not write: unpack it first")
        self.pickle_name = names[0]
        self.folder = self.pickle_name.removesuffix("data.pkl")

    def load(self) -> Any:
        text = self.member(self.pickle_name).tobytes()
        check_instructions(text)
        return _Unpickler(io.BytesIO(text), self.storage).load()

    def member(self, name: str) -> np.ndarray:
        """The bytes of a member that is stored, not compressed: what is declared is there."""
        member = self.members[name]
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            raise ValueError(f"{name!r} is compressed or encrypted")
        if name == self.pickle_name and member.file_size > MAX_PICKLE:
            raise ValueError(f"{name!r} has {member.file_size} bytes, more than {MAX_PICKLE}")
        head = view(self.raw, member.header_offset, np.dtype(np.uint8), (30,)).tobytes()
        if head[:4] != b"PK\x03\x04":
            raise ValueError(f"{name!r} is not where the archive says")
        skip = int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
        start = member.header_offset + 30 + skip
        return view(self.raw, start, np.dtype(np.uint8), (member.file_size,))

    def storage(self, key: str, dtype: np.dtype) -> np.ndarray:
        data = self.member(f"{self.folder}data/{key}")
        return data[: data.size // dtype.itemsize * dtype.itemsize].view(dtype)


def check_instructions(text: bytes) -> None:
    """Refuse a pickle that names anything unknown; runs nothing."""
    for code, argument, _ in pickletools.genops(text):
        if code.name == "GLOBAL":
            find(*str(argument).split(" ", 1))
        elif code.name == "STACK_GLOBAL":
            raise ValueError("it names its objects indirectly, which torch.save does not do")
        elif code.name in {"EXT1", "EXT2", "EXT4", "INST", "OBJ"}:
            raise ValueError(f"it contains the instruction {code.name}")


def find(module: str, name: str) -> Any:
    """The object for a name in the pickle; ValueError if the name must not be followed."""
    if module == "torch" and name in STORAGES:
        return STORAGES[name]
    if (module, name) == ("collections", "OrderedDict"):
        return OrderedDict
    if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
        return _tensor
    if (module, name) == ("torch._utils", "_rebuild_parameter"):
        return _parameter
    if (module, name) == ("torch.nn.modules.container", "ParameterDict"):
        return Parameters
    if (module, name) in IGNORED:
        return Ignored
    raise ValueError(f"its pickle asks for `{module}.{name}`, which is not a tensor")


_Python: Any = pickle._Unpickler  # the one in C lets no instruction be changed


class _Unpickler(_Python):
    dispatch: ClassVar[dict[int, Any]] = {**_Python.dispatch}

    def __init__(self, file: io.BytesIO, storage: Callable[[str, np.dtype], np.ndarray]) -> None:
        super().__init__(file, encoding="utf-8")
        self.storage = storage

    def find_class(self, module: str, name: str) -> Any:
        return find(module, name)

    def persistent_load(self, pid: Any) -> np.ndarray:
        kind, dtype, key, *_ = pid
        if kind != "storage" or not isinstance(dtype, np.dtype) or not isinstance(key, str):
            raise ValueError(f"it refers to {kind!r}, which is not the storage of a tensor")
        return self.storage(key, dtype)

    def load_build(self) -> None:
        """Attributes of a dictionary are read; nothing else may change, least of all our own."""
        if not isinstance(self.stack[-2], (OrderedDict, Ignored)):
            raise ValueError(f"it changes a {type(self.stack[-2]).__name__}")
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build


def _tensor(
    storage: np.ndarray, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> np.ndarray:
    """A view of the storage; sizes and strides that reach beyond it are refused."""
    numbers = (offset, *shape, *strides)
    if len(shape) != len(strides) or any(type(n) is not int or n < 0 for n in numbers):
        raise ValueError(f"a tensor has the shape {shape} and strides {strides}")
    count = int(np.prod([1, *shape], dtype=object))
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) if count else 0
    if count > storage.size or last >= max(storage.size, 1):
        raise ValueError(f"a tensor of the shape {shape} exceeds its storage")
    steps = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False)


def _parameter(data: np.ndarray, *_: Any) -> np.ndarray:
    return data


def state_of(path: Path, content: Any) -> Tensors:
    """The named tensors in what was saved: a dictionary, or one inside one of ``WRAPPERS``."""
    if isinstance(content, dict):
        inner = (content.get(name) for name in WRAPPERS)
        content = next((found for found in inner if isinstance(found, dict)), content)
    named = content if isinstance(content, dict) else {}
    tensors = {k: v for k, v in named.items() if isinstance(k, str) and type(v) is np.ndarray}
    if not tensors:
        is_list = isinstance(content, list) and content
        what = (
            "a list of tensors, as old LoRAs are"
            if is_list
            else nature.of_names([*map(str, named)])
        )
        raise CheckpointError(f"`{path}` holds {what}.")
    return tensors
