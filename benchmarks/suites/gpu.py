"""What matters on an accelerator, in one call of limited length, the most important first.

Every result is written when it is there, so a run that is cut short has lost nothing. The parts:

- ceilings: matmul and copy rates
- steps: a guided step of SD1.5 at batch 1 and 3 and of SDXL, in float16 and bfloat16
- flags: a guided step under other flags of XLA, each in a process of its own
- pictures: whole calls, 25 and 50 steps
- compiled: diffusers compiled, which takes long to compile
"""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.peers import PEERS, choose
from benchmarks.records import Log
from benchmarks.suites import Plan, guide, step
from benchmarks.workers import PeerError, working

MINUTES = 8.5
LEAST = 20  # seconds without which nothing is begun
COMPILED = "diffusers compiled"

CASES = (
    {"model": "sd1.5", "batch": 1, "dtype": "float16"},
    {"model": "sdxl", "batch": 1, "dtype": "float16"},
    {"model": "sd1.5", "batch": 3, "dtype": "float16"},
    {"model": "sd1.5", "batch": 1, "dtype": "bfloat16"},
    {"model": "sdxl", "batch": 1, "dtype": "bfloat16"},
    {"model": "sd1.5", "batch": 3, "dtype": "bfloat16"},
)
PICTURES = (
    {"model": "sd1.5", "batch": 1, "steps": 50, "dtype": "float16"},
    {"model": "sd1.5", "batch": 3, "steps": 25, "dtype": "float16"},
    {"model": "sd1.5", "batch": 3, "steps": 50, "dtype": "float16"},
    {"model": "sdxl", "batch": 1, "steps": 30, "dtype": "float16"},
)
FLAGS = {
    "default": "",
    "convolutions in command buffers": "--xla_gpu_enable_command_buffer=+CONVOLUTION",
    "convolutions and loops in command buffers": (
        "--xla_gpu_enable_command_buffer=+CONVOLUTION,+WHILE,+CONDITIONAL"
    ),
    "no command buffers": "--xla_gpu_enable_command_buffer=",
    "command buffers of any size": (
        "--xla_gpu_enable_command_buffer=+CONVOLUTION --xla_gpu_graph_min_graph_size=1"
    ),
    "cuBLASLt": "--xla_gpu_enable_cublaslt=true",
    "cuDNN gemm fusion": "--xla_gpu_cudnn_gemm_fusion_level=2",
    "runtime fusion": "--xla_gpu_use_runtime_fusion=true",
    "convolution fusion": "--xla_gpu_experimental_enable_conv_fusion=true",
    "no Triton gemm": "--xla_gpu_enable_triton_gemm=false",
    "exhaustive tiling": "--xla_gpu_exhaustive_tiling_search=true",
}
PARTS = ("ceilings", "steps", "flags", "pictures", "compiled")


class Deadline:
    """How much time is left."""

    def __init__(self, minutes: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.end = clock() + 60 * minutes

    def left(self) -> float:
        return self.end - self.clock()

    def is_over(self) -> bool:
        return self.left() < LEAST


def run(plan: Plan, log: Log) -> None:
    deadline = Deadline(plan.minutes or MINUTES)
    rates: dict[str, dict[str, float]] = {}
    parts = {
        "ceilings": lambda: rates.update(ceilings(plan, log, deadline)),
        "steps": lambda: steps(plan, log, deadline, rates),
        "flags": lambda: flags(plan, log, deadline, rates),
        "pictures": lambda: pictures(plan, log, deadline),
        "compiled": lambda: compiled(plan, log, deadline, rates),
    }
    wanted = plan.parts.split(",") if plan.parts else PARTS
    for name in wanted:
        if name not in parts:
            raise SystemExit(f"A part must be one of {', '.join(PARTS)}. Received: {name}")
        if deadline.is_over():
            log.failure("all", name, {}, "no time was left")
            continue
        parts[name]()


def ceilings(plan: Plan, log: Log, deadline: Deadline) -> dict[str, dict[str, float]]:
    """The rates of large matrix products by precision and framework, and of a copy."""
    size = 256 if plan.tiny else 8192
    rates: dict[str, dict[str, float]] = {}
    for peer in ("ceiling jax", "ceiling torch"):
        if not PEERS[peer].is_installed:
            continue
        framework = peer.split()[1]
        try:
            with working(peer) as worker:
                for dtype in ("float16", "bfloat16", "float32"):
                    rate = worker.ask("matmul", deadline.left(), size=size, dtype=dtype)
                    rates.setdefault(dtype, {})[framework] = rate
                    case = {"size": size, "dtype": dtype}
                    log(peer, "matmul", "TFLOP/s", [rate / 1e12], case)
                rate = worker.ask("copy", deadline.left(), size=size)
                log(peer, "copy", "GB/s", [rate / 1e9], {"bytes": 4 * 4096 * size})
        except PeerError as error:
            log.failure(peer, "ceilings", {}, str(error))
    return rates


def steps(plan: Plan, log: Log, deadline: Deadline, rates: dict[str, dict[str, float]]) -> None:
    for changes in CASES:
        if deadline.is_over():
            log.failure("all", "step", changes, "no time was left")
            continue
        case = plan.case(**changes)
        peers = [p for p in choose(plan.peers, case["model"]) if p != COMPILED]
        step.measure(
            case,
            peers,
            plan.repeats,
            log,
            rates.get(case["dtype"], {}),
            times=1 if plan.tiny else 10,
            timeout=deadline.left(),
        )


def flags(plan: Plan, log: Log, deadline: Deadline, rates: dict[str, dict[str, float]]) -> None:
    """The step of SD1.5 at batch 1 under each set of flags; unknown flags end the process."""
    case = plan.case(**CASES[0])
    for name, text in FLAGS.items():
        if deadline.is_over():
            log.failure("sfumato jax", "step", {"flags": name}, "no time was left")
            continue
        step.measure(
            case,
            ["sfumato jax"],
            plan.repeats,
            log,
            rates.get(case["dtype"], {}),
            times=1 if plan.tiny else 10,
            timeout=deadline.left(),
            environment={"XLA_FLAGS": text, "SFUMATO_COMPILE_CACHE": "off"},
            flags=name,
            xla_flags=text,
        )


def pictures(plan: Plan, log: Log, deadline: Deadline) -> None:
    for changes in PICTURES:
        if deadline.is_over():
            log.failure("all", "warm", changes, "no time was left")
            continue
        case = plan.case(**changes | ({"steps": 2} if plan.tiny else {}))
        peers = [p for p in choose(plan.peers, case["model"]) if p != COMPILED]
        guide.measure(case, peers, plan.repeats, log, timeout=deadline.left(), compiled_only=True)


def compiled(plan: Plan, log: Log, deadline: Deadline, rates: dict[str, dict[str, float]]) -> None:
    """Compiled diffusers beside Sfumato, where it is installed."""
    case = plan.case(**CASES[0])
    if not PEERS[COMPILED].is_installed or plan.tiny:
        return
    step.measure(
        case,
        ["sfumato jax", COMPILED],
        plan.repeats,
        log,
        rates.get(case["dtype"], {}),
        times=10,
        timeout=deadline.left(),
    )
