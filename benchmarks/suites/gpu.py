"""What matters on an accelerator, in one call of limited length, the most important first.

Every result is written when it is there, so a run that is cut short has lost nothing, and a later
one with the same file goes on where it stopped. The parts:

- ceilings: matmul and copy rates
- steps: a guided step of SD1.5 at batch 1 and 3 and of SDXL, in float16 and bfloat16
- variants: the step as it is, beside all steps in one program, and with the fused norms
- flags: a guided step under other flags of XLA, each in a process of its own
- pictures: whole calls, 25 and 50 steps
- compiled: diffusers compiled, which takes long to compile
- cold: from the start of the process to the first picture
- memory: peaks on the host and on the device
- kinds: where the time of a step goes
- guide: the predecessor's protocol with and without XLA and mixed precision; without XLA, JAX
  compiles every operation by itself, which takes minutes
"""

from __future__ import annotations

from benchmarks.peers import PEERS, choose
from benchmarks.records import NO_TIME, Log
from benchmarks.suites import Deadline, Plan, cold, guide, memory, step
from benchmarks.workers import PeerError, working

MINUTES = 8.5
COMPILED = "diffusers compiled"
OURS = "sfumato jax"

CASES = (
    {"model": "sd1.5", "batch": 1, "dtype": "float16"},
    {"model": "sd1.5", "batch": 3, "dtype": "float16"},
    {"model": "sdxl", "batch": 1, "dtype": "float16"},
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
FUSED = {"SFUMATO_FUSED_NORMS": "1", "SFUMATO_COMPILE_CACHE": "off"}
VARIANTS = (  # name, method of the runner, environment
    ("as it is", "step", {}),
    ("weights in XLA's layouts", "placed", {}),
    ("steps in one program", "loop", {}),
    ("fused norms", "step", FUSED),
    ("fused norms, steps in one program", "loop", FUSED),
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


class Order:
    """The suite's parts, under one deadline."""

    def __init__(self, plan: Plan, log: Log) -> None:
        self.plan = plan
        self.log = log
        self.deadline = Deadline(plan.minutes or MINUTES, hard=True)
        self.rates: dict[str, dict[str, float]] = {}
        self.times = 1 if plan.tiny else 10

    def has_time(self, what: str, case: dict, peer: str = "all") -> bool:
        if self.deadline.is_over():
            self.log.failure(peer, what, case, NO_TIME)
            return False
        return True

    def peers(self, model: str) -> list[str]:
        return [p for p in choose(self.plan.peers, model, "gpu") if p != COMPILED]

    def measure(self, case: dict, peers: list[str], **more) -> None:
        rates = self.rates.get(case["dtype"], {})
        step.measure(
            case,
            peers,
            self.plan.repeats,
            self.log,
            rates,
            deadline=self.deadline,
            **{"times": self.times, **more},
        )

    def ceilings(self) -> None:
        """The rates of large matrix products by precision and framework, and of a copy."""
        size, log = 256 if self.plan.tiny else 8192, self.log
        for peer in ("ceiling jax", "ceiling torch"):
            if not PEERS[peer].is_installed:
                continue
            framework = peer.split()[1]
            try:
                with working(peer) as worker:
                    for dtype in ("float16", "bfloat16", "float32"):
                        timeout = self.deadline.timeout()
                        rate = worker.ask("matmul", timeout, size=size, dtype=dtype)
                        self.rates.setdefault(dtype, {})[framework] = rate
                        case = {"size": size, "dtype": dtype}
                        log(peer, "matmul", "TFLOP/s", [rate / 1e12], case)
                    rate = worker.ask("copy", self.deadline.timeout(), size=size)
                    log(peer, "copy", "GB/s", [rate / 1e9], {"bytes": 4 * 4096 * size})
            except PeerError as error:
                log.failure(peer, "ceilings", {}, str(error))

    def steps(self) -> None:
        for changes in CASES:
            if self.has_time("step", changes):
                case = self.plan.case(**changes)
                self.measure(case, self.peers(case["model"]))

    def variants(self) -> None:
        """The step of SD1.5 at batch 1 and 3 in other forms."""
        for changes in CASES[:2]:
            case = self.plan.case(**changes)
            for name, method, environment in VARIANTS:
                if self.has_time("step", {**changes, "variant": name}, OURS):
                    self.measure(
                        case,
                        [OURS],
                        method=method,
                        environment=environment,
                        labels={"variant": name},
                        times=2 if self.plan.tiny else 50,  # as many as a picture has
                    )

    def flags(self) -> None:
        """The step of SD1.5 at batch 1 under each set of flags; unknown flags end the process."""
        case = self.plan.case(**CASES[0])
        for name, text in FLAGS.items():
            if self.has_time("step", {"flags": name}, OURS):
                self.measure(
                    case,
                    [OURS],
                    environment={"XLA_FLAGS": text, "SFUMATO_COMPILE_CACHE": "off"},
                    labels={"flags": name},
                    xla_flags=text,
                )

    def pictures(self) -> None:
        for changes in PICTURES:
            if self.has_time("warm", changes):
                case = self.plan.case(**changes | ({"steps": 2} if self.plan.tiny else {}))
                peers = self.peers(case["model"])
                guide.measure(
                    case, peers, self.plan.repeats, self.log, self.deadline, compiled_only=True
                )

    def guide(self) -> None:
        for dtype in ("float32", guide.HALF):
            changes = {"batch": 3, "steps": 2 if self.plan.tiny else 25, "dtype": dtype}
            if self.has_time("warm", changes):
                case = self.plan.case(**changes)
                peers = self.peers(case["model"])
                guide.measure(case, peers, self.plan.repeats, self.log, self.deadline)

    def kinds(self) -> None:
        case = self.plan.case(**CASES[0])
        for peer in self.peers(case["model"]):
            if PEERS[peer].module in step.KINDS_OF and self.has_time("kinds", CASES[0], peer):
                step.by_kind(peer, case, self.log, self.deadline.timeout())

    def memory(self) -> None:
        case = self.plan.case(**CASES[0], steps=2)
        for peer in self.peers(case["model"]):
            if self.has_time("host memory", CASES[0], peer):
                memory.measure(case, [peer], self.log, self.deadline.timeout())

    def cold(self) -> None:
        case = self.plan.case(**CASES[0], steps=2 if self.plan.tiny else 50)
        if self.has_time("first picture", CASES[0]):
            cold.measure(case, self.peers(case["model"]), 3, self.log, self.deadline)

    def compiled(self) -> None:
        """Compiled diffusers beside Sfumato, where it is installed."""
        if PEERS[COMPILED].is_installed and not self.plan.tiny:
            self.measure(
                self.plan.case(**CASES[0]), [OURS, COMPILED], labels={"beside": "compiled"}
            )


PARTS = (
    "ceilings",
    "steps",
    "variants",
    "flags",
    "pictures",
    "compiled",
    "cold",
    "memory",
    "kinds",
    "guide",
)


def run(plan: Plan, log: Log) -> None:
    log = Log(log.path, "gpu", plan.tiny, resume=True)
    order = Order(plan, log)
    for name in plan.parts.split(",") if plan.parts else PARTS:
        if name not in PARTS:
            raise SystemExit(f"A part must be one of {', '.join(PARTS)}. Received: {name}")
        if order.has_time(name, {}):
            getattr(order, name)()
