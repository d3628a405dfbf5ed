"""From the mapped file into the variables of a network: every tensor once, every variable once."""

from __future__ import annotations

import math
import mmap
import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import keras
import ml_dtypes
import numpy as np

from sfumato import kernels
from sfumato.checkpoints.tensors import CheckpointError, Tensors, listing
from sfumato.networks.network import Block, keys

FUSED = {
    ".to_qkv.": (".to_q.", ".to_k.", ".to_v."),
    ".qkv_proj.": (".q_proj.", ".k_proj.", ".v_proj."),
}
"""One matmul of ours -> the layers of the file, side by side along the outputs."""

UNUSED = re.compile(r"(.*\.)?(position_ids|logit_scale|attn_mask)|text_projection\.weight")
"""Tensors that a checkpoint may hold although no network needs them."""

SCALE = "_scale"
"""``name + SCALE`` holds the scales of the rows of an int8 tensor."""

BLOCK = 128
"""Rows transposed at a time, so that what is read and what is written stay in the fast cache."""


class Job(NamedTuple):
    """One variable and the tensors that make it up, in the file's layout."""

    variable: keras.Variable
    sources: tuple[str, ...]


def fill(network: Block | Sequence[Block], tensors: Tensors) -> None:
    """Give every variable of a network, or of several that share a file, its value.

    The weights are cast to the variable's dtype and transposed on the way from the mapped file to
    the device, a few at a time, so that there is never a second copy of them all. Linear kernels
    (O, I) become (I, O), convolutions (O, I, h, w) become (h, w, I, O), and q, k and v one kernel.
    OpenVINO takes them as they are in the file: nothing is copied but what is put together.

    Raises:
        CheckpointError: tensors are missing, unexpected or misshapen; all are named, and nothing
            has been changed.
    """
    networks = [network] if isinstance(network, Block) else list(network)
    variables = {key: variable for part in networks for key, variable in keys(part).items()}
    jobs = [Job(variable, sources(key)) for key, variable in variables.items()]
    check(jobs, tensors, " and ".join(type(part).__name__ for part in networks))
    for variable, value in (_views if kernels.TAKES_VIEWS else _values)(jobs, tensors):
        kernels.store(variable, value)


def check(jobs: list[Job], tensors: Tensors, network: str) -> None:
    """Raise one error that names all that keeps the tensors from filling the network."""
    wanted = {source for job in jobs for source in job.sources}
    scales = {name + SCALE for name in wanted if name in tensors and tensors[name].dtype == np.int8}
    missing = [name for name in wanted | scales if name not in tensors]
    unexpected = [n for n in tensors if n not in wanted | scales and not UNUSED.fullmatch(n)]
    misshapen = [
        f"{name} {tensors[name].shape} instead of {shape}"
        for job in jobs
        for name in job.sources
        if name in tensors and (shape := _mismatch(job, tensors[name]))
    ]
    misshapen += [
        f"{name} {tensors[name].shape} instead of {tensors[name.removesuffix(SCALE)].shape[:1]}"
        for name in scales - set(missing)
        if tensors[name].shape != tensors[name.removesuffix(SCALE)].shape[:1]
    ]
    problems = {"missing": missing, "unexpected": unexpected, "misshapen": misshapen}
    if any(problems.values()):
        lists = "; ".join(f"{what}: {listing(names)}" for what, names in problems.items() if names)
        raise CheckpointError(f"The checkpoint does not fit the {network}. {lists}")


def sources(key: str) -> tuple[str, ...]:
    """The tensors of the file that make up a variable of ours."""
    for fused, parts in FUSED.items():
        if fused in key:
            return tuple(key.replace(fused, part) for part in parts)
    return (key,)


def is_kernel(variable: keras.Variable) -> bool:
    """Whether inputs and outputs are stored in the other order than the file's."""
    return variable.name == "kernel"


def _mismatch(job: Job, tensor: np.ndarray) -> tuple[int, ...] | None:
    """The shape that the tensor should have, or None if it has it."""
    shape = tuple(job.variable.shape)
    if is_kernel(job.variable):
        shape = (shape[-1], shape[-2], *shape[:-2])
    shape = (shape[0] // len(job.sources), *shape[1:])
    as_convolution = (*shape, 1, 1) if is_kernel(job.variable) and len(shape) == 2 else shape
    return None if tensor.shape in (shape, as_convolution) else shape


def _views(jobs: list[Job], tensors: Tensors) -> Iterator[tuple[keras.Variable, np.ndarray]]:
    """The values in the file's dtype and in Keras' shape: views of the file where it is one tensor.

    OpenVINO wants the file's order of the numbers in memory and widens them while it compiles.
    """
    for variable, names in jobs:
        parts = [_dequantized(name, tensors) for name in names]
        value = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if is_kernel(variable):
            value = value.reshape(value.shape[: len(variable.shape)])  # a 1x1 convolution is linear
            value = value.transpose(*range(2, value.ndim), 1, 0)
        yield variable, value


def _values(jobs: list[Job], tensors: Tensors) -> Iterator[tuple[keras.Variable, np.ndarray]]:
    """The values in order, a few prepared ahead on all processors (copies release the GIL)."""
    workers = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        ahead: deque[tuple[keras.Variable, Future[np.ndarray]]] = deque()
        arena = Arena()
        for job in jobs:
            value = _room(job.variable, arena)
            ahead.append((job.variable, pool.submit(_value, value, job, tensors)))
            if len(ahead) > 2 * workers:
                variable, future = ahead.popleft()
                yield variable, future.result()
        while ahead:
            variable, future = ahead.popleft()
            yield variable, future.result()


def _room(variable: keras.Variable, arena: Arena) -> np.ndarray:
    """Memory for a variable."""
    shape, dtype = tuple(variable.shape), np.dtype(_numpy_dtype(variable))
    return kernels.empty(shape, dtype, is_kernel(variable), arena.empty)


def _value(value: np.ndarray, job: Job, tensors: Tensors) -> np.ndarray:
    """``value`` with the tensors in its dtype and layout: the only copy that is made."""
    shape = value.shape
    width = shape[-1] // len(job.sources) if shape else 0
    for index, name in enumerate(job.sources):
        tensor = _dequantized(name, tensors)
        if not is_kernel(job.variable):
            target = value[index * width : (index + 1) * width] if len(job.sources) > 1 else value
            target[...] = tensor
            continue
        _transpose(tensor, value[..., index * width : (index + 1) * width])
    return value


def _dequantized(name: str, tensors: Tensors) -> np.ndarray:
    """The tensor, multiplied by the scales of its rows if it is in int8."""
    tensor = tensors[name]
    if tensor.dtype != np.int8:
        return tensor
    scale = tensors[name + SCALE].astype("float32")
    return tensor * scale.reshape(-1, *(1,) * (tensor.ndim - 1))


def _transpose(source: np.ndarray, target: np.ndarray) -> None:
    """(O, I, h, w) or (O, I) -> (h, w, I, O) or (I, O), in blocks that fit into the cache."""
    inputs, outputs = target.shape[-2:]
    source = source.reshape(outputs, inputs, -1)  # (O, I, K)
    target = target.reshape(-1, inputs, outputs)  # (K, I, O)
    step = max(1, BLOCK // (2 * source.shape[2]) * 9)
    for o in range(0, outputs, BLOCK):
        for i in range(0, inputs, step):
            block = source[o : o + BLOCK, i : i + step]
            is_half = source.dtype == np.float16 and target.dtype == np.float32
            block = _widen(block) if is_half else block.astype(target.dtype)
            target[:, i : i + step, o : o + BLOCK] = block.transpose(2, 1, 0)


def _widen(halves: np.ndarray) -> np.ndarray:
    """float16 -> float32, exactly, in vector instructions that numpy's own cast does without.

    The bits of sign, exponent and fraction move to their places in a float32; the exponents differ
    by 112, which one multiplication makes up for, subnormal numbers included.
    """
    bits = halves.view(np.int16).astype(np.int32)  # the sign fills the upper half
    bits <<= 13
    bits &= ~0x70000000  # what the sign filled of the exponent
    floats = bits.view(np.float32)
    floats *= np.float32(2.0**112)
    if floats.size and max(floats.max(), -floats.min()) >= 2.0**16:  # infinite or not a number
        return halves.astype(np.float32)
    return floats


def _numpy_dtype(variable: keras.Variable) -> Any:
    name = keras.backend.standardize_dtype(variable.dtype)
    return ml_dtypes.bfloat16 if name == "bfloat16" else name


class Arena:
    """Uninitialised memory, aligned to 64 bytes so that JAX on a CPU takes it over as it is.

    It comes in large pieces. A piece is freed when the last array in it is. Huge pages are left to
    the system: where the host of a virtual machine has yet to provide the memory, one costs 4 ms.
    """

    PIECE = 64 * 2**20
    # Python's default is memory to be shared with child processes, which is slower to come by.
    KIND = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}

    def __init__(self) -> None:
        self.free = np.empty(0, np.uint8)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        size = math.prod(shape) * dtype.itemsize
        padded = -(-size // 64) * 64
        if padded > self.free.size:
            piece = mmap.mmap(-1, max(padded, self.PIECE), **self.KIND)
            self.free = np.frombuffer(piece, np.uint8)
        memory, self.free = self.free[:size], self.free[padded:]
        return memory.view(dtype).reshape(shape)
