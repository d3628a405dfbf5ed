"""LoRAs of rank 16 for all attention and feed-forward of the U-Net: reading, merging, compiling.

The pictures are small and have one step, so that what is compiled shows.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.models import MODELS
from benchmarks.peers import choose
from benchmarks.records import Log
from benchmarks.suites import Plan, shown
from benchmarks.workers import PeerError, working

RANK = 16
LAYERS = re.compile(r"(.+\.attn[12]\.to_(?:q|k|v|out\.0)|.+\.ff\.net\.(?:0\.proj|2))\.weight")
FRESH = {"SFUMATO_COMPILE_CACHE": "off"}


def run(plan: Plan, log: Log) -> None:
    case = plan.case(steps=1, **({} if plan.size or plan.tiny else {"size": 256}))
    for peer in choose(plan.peers, case["model"], "lora"):
        if not peer.startswith("sfumato"):
            continue
        found: dict[str, list[float]] = {}
        try:
            for _ in range(plan.repeats):
                with tempfile.TemporaryDirectory() as folder, working(peer, FRESH) as worker:
                    files = [str(written(case["model"], Path(folder), seed)) for seed in (1, 2)]
                    worker.ask("load", **case)
                    for name, seconds in worker.ask("loras", files=files).items():
                        found.setdefault(name, []).append(seconds)
        except PeerError as error:
            log.failure(peer, "loras", shown(case), str(error))
        for name, seconds in found.items():
            log(peer, name, "s", seconds, {**shown(case), "rank": RANK})


def written(model: str, folder: Path, seed: int) -> Path:
    """A LoRA of random numbers for a model, in half precision, as PEFT names its parts."""
    from sfumato.checkpoints.safetensors import write_safetensors

    draw = np.random.default_rng(seed)
    tensors = {
        name: (0.01 * draw.standard_normal(shape, "float32")).astype("float16")
        for name, shape in shapes(model)
    }
    path = folder / f"{seed}.safetensors"
    write_safetensors(path, tensors)
    return path


def shapes(model: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """The names and shapes of the two matrices of each layer."""
    from sfumato.checkpoints.save import file_shapes
    from sfumato.networks.unet import UNet

    for name, shape in file_shapes(UNet(MODELS[model].unet, "float16")).items():
        if layer := LAYERS.fullmatch(name):
            yield f"unet.{layer[1]}.lora_A.weight", (RANK, shape[1])
            yield f"unet.{layer[1]}.lora_B.weight", (shape[0], RANK)
