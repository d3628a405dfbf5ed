"""What ``quantize("int8")`` costs and saves on OpenVINO.

The pictures of the bundled model (PSNR to those of float32, and how often the asked colour is seen
in each), and a guided step and the memory of the model that ``--model`` names, whose weights are
random.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peers.common import PROMPT
from benchmarks.records import Log
from benchmarks.suites import Plan, shown
from benchmarks.suites.mini import SIZE
from benchmarks.workers import Worker, take_turns, working

PEER = "sfumato openvino"
THINGS = ("apple", "heart", "star", "t-shirt", "umbrella", "balloon", "book", "tree")
COLOURS = ("red", "yellow", "green", "blue", "purple", "pink")
WAYS: dict[str, dict[str, Any]] = {  # the first is what the others are compared with
    "float32": {},
    "int8": {},
    "int8, feature_reuse 3": {"feature_reuse": 3},
    "int8, feature_reuse 3, guidance_interval 0.5:1": {
        "feature_reuse": 3,
        "guidance_interval": (0.5, 1.0),
    },
}


def run(plan: Plan, log: Log) -> None:
    quality(plan, log)
    speed(plan, log)
    memory(plan, log)


def quality(plan: Plan, log: Log) -> None:
    import numpy as np

    from recipes.mini.colours import seen_colour

    asked = [(thing, colour) for thing in THINGS for colour in COLOURS][:: 24 if plan.tiny else 1]
    prompts = [f"a 3d render of a {colour} {thing}" for thing, colour in asked]
    case = {"model": "mini", "size": SIZE, "pictures": len(prompts)}
    with tempfile.TemporaryDirectory() as folder, working(PEER) as worker:
        worker.ask("load", **case_of_mini())
        pictures = []
        for way, options in WAYS.items():
            if way == "int8":
                worker.ask("quantize", decoder=False)
            file = Path(folder) / f"{len(pictures)}.npy"
            worker.ask("draw", path=str(file), prompts=prompts, options=options)
            pictures.append(np.load(file))
    for way, drawn in zip(WAYS, pictures, strict=True):
        seen = [seen_colour(x) == colour for x, (_, colour) in zip(drawn, asked, strict=True)]
        log(PEER, "asked colour seen", "%", [100 * float(np.mean(seen))], {**case, "dtype": way})
        difference = drawn.astype("float64") - pictures[0]
        ratios = 10 * np.log10(255**2 / np.maximum(np.mean(difference**2, axis=(1, 2, 3)), 1e-3))
        if drawn is not pictures[0]:
            log(PEER, "PSNR to float32", "dB", ratios.tolist(), {**case, "dtype": way})


def case_of_mini() -> dict[str, Any]:
    return {"model": "mini", "folder": "mini", "size": SIZE}


def speed(plan: Plan, log: Log) -> None:
    """Float32 and int8 in turn; a single evaluation says enough of random weights."""
    case = plan.case()
    with working(PEER) as plain, working(PEER) as quantized:
        for worker in (plain, quantized):
            worker.ask("load", **case)
        quantized.ask("quantize", prompts=[PROMPT], num_steps=1)
        dtypes = {id(plain): "float32", id(quantized): "int8"}
        seconds: dict[str, list[float]] = {dtype: [] for dtype in dtypes.values()}

        def turn(worker: Worker) -> float:
            value = worker.ask("step")
            seconds[dtypes[id(worker)]].append(value)
            return value

        _, errors = take_turns([plain, quantized], plan.repeats, 1, turn)
    for error in errors.values():
        log.failure(PEER, "step", shown(case), error)
    for dtype, values in seconds.items():
        if values[1:]:
            log(PEER, "step", "s", values[1:], {**shown(case), "dtype": dtype}, warmup=1)


def memory(plan: Plan, log: Log) -> None:
    """The peak of a process that finds the ranges on the disk, as all but the first one do."""
    case = plan.case(steps=2)
    with working(PEER) as worker:
        worker.ask("load", **case)
        worker.ask("quantize", prompts=[PROMPT], num_steps=1)
        worker.ask("picture")
        peak = worker.ask("memory")["host"]
    log(PEER, "host memory", "GiB", [peak / 2**30], {**shown(case), "dtype": "int8"})
