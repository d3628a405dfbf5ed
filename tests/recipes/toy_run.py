"""The recipe on the toy drawings, in a process of its own: `python toy_run.py FOLDER PART`.

The part "stages" is every stage by itself, "calls" all of them in calls of limited length. What was
found goes to `FOLDER/found.json`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
from keras import ops
from toy_drawings import toy_pack

from recipes.mini import autoencoder, denoiser, evaluate, gpu, pack, shipped, turbo
from recipes.mini.config import TOY
from recipes.mini.export import export, export_turbo
from recipes.mini.training import averages
from sfumato import StableDiffusion


def learning(folder: Path) -> dict[str, float]:
    """Stop after 50 steps, go on to 100, and note the loss at both ends."""
    losses: list[float] = []
    original = denoiser.Trainer.report
    denoiser.Trainer.report = lambda self, means: losses.extend(
        float(means[name]) for name in means or () if name == "loss"
    )
    for steps in (50, 100):
        training = replace(TOY.denoiser_training, steps=steps)
        trainer = denoiser.train(replace(TOY, denoiser_training=training), folder)
    denoiser.Trainer.report = original
    return {
        "first": float(np.mean(losses[:2])),
        "last": float(np.mean(losses[-2:])),
        "steps": trainer.step,
        "optimizer_steps": int(trainer.optimizer.iterations),
    }


def drawing(folder: Path) -> dict:
    """Export, load with the package, draw, and compare a weight with the average."""
    digests = export(TOY, folder, folder / "preset")
    model = StableDiffusion.from_preset(str(folder / "preset"), jit_compile=False)
    pictures = model.text_to_image(["a ball", "a box"], num_steps=2, seed=0, verbose=False)
    kernel = ops.convert_to_numpy(model.diffusion_model.conv_in.kernel.value)
    wanted = averages(folder / "denoiser" / "checkpoint.npz", "unet")["conv_in.weight"]
    return {
        "files": sorted(digests),
        "size": model.img_height,
        "prediction": model.model.prediction,
        "words": (folder / "preset" / "words.txt").read_text().split("\n"),
        "shape": list(pictures.shape),
        "contrast": float(pictures.std()),
        "weight_error": float(np.abs(kernel - wanted).max()),
    }


def distilling(folder: Path) -> dict[str, Any]:
    """Distil for a few steps; how far the weights went from the teacher's; a picture."""
    trainer = turbo.train(TOY, folder)
    digests = export_turbo(TOY, folder, folder / "preset-turbo")
    teacher, student = (
        averages(folder / stage / "checkpoint.npz", "unet") for stage in ("denoiser", "turbo")
    )
    away = {k: float(np.linalg.norm(student[k] - v)) for k, v in teacher.items()}
    size = {k: float(np.linalg.norm(v)) for k, v in teacher.items()}
    return {
        "steps": trainer.step,
        "files": sorted(digests),
        "moved": sum(value > 0 for value in away.values()) / len(away),
        "distance": sum(away.values()) / sum(size.values()),
    }


BRIEF = replace(
    TOY,
    denoiser_training=replace(TOY.denoiser_training, steps=10),
    turbo_training=replace(TOY.turbo_training, steps=4),
)
"""For JAX, whose steps on a CPU are slow."""


def calling(folder: Path) -> dict[str, Any]:
    """Two calls of limited length on machines that share only drawings and pieces of weights."""
    calls = []
    for index in range(2):
        work, out = folder / f"call{index}", folder / f"out{index}"
        for each in (work, out):
            each.mkdir()
        pack.write(work / "drawings.npz", toy_pack(TOY.size))
        for piece in (folder / "out0").glob("*.0") if index else []:
            (work / piece.name).write_bytes(piece.read_bytes())
        gpu.run(BRIEF, work, out, 3.0)
        calls.append(sorted(path.name for path in out.iterdir()))
    step = int(shipped.read_pieces(folder / "out0", "turbo")["step"])
    return {"calls": calls, "step": step, "steps": BRIEF.turbo_training.steps}


def judging() -> dict[str, float]:
    """The judge finds what renders show, and nothing in noise."""
    composer = evaluate.Composer(toy_pack(32), TOY.styles)
    judge = evaluate.Judge(composer)
    judge.train(60, size=6)
    scenes = [evaluate.Scene(*cell) for cell in composer.found] * 4
    random = np.random.Generator(np.random.Philox(0))
    renders = np.stack([evaluate.real(composer, scene, random) for scene in scenes])
    noise = random.integers(0, 256, renders.shape).astype("uint8")
    return {
        "renders": judge.retrieval(renders, scenes)["thing"],
        "noise": judge.retrieval(noise, scenes)["thing"],
    }


def stages(folder: Path) -> dict[str, Any]:
    """Train, measure, export and judge."""
    pack.write(folder / "drawings.npz", toy_pack(TOY.size))
    decoder = autoencoder.train(TOY, folder).networks["decoder"]
    psnr = autoencoder.measure(TOY, folder, decoder, count=2)
    autoencoder.write_measured(folder, psnr)
    found: dict[str, Any] = {"psnr": psnr, "learning": learning(folder)}
    return found | {
        "drawing": drawing(folder),
        "judging": judging(),
        "turbo": distilling(folder),
    }


if __name__ == "__main__":
    place = Path(sys.argv[1])
    found = {"stages": stages, "calls": calling}[sys.argv[2]](place)
    (place / "found.json").write_text(json.dumps(found))
