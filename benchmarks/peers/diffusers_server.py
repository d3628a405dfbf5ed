"""A server on diffusers, as its example is one.

A request is painted in a thread of a pool, by a pipeline of its own that shares the networks and
has its own scheduler, which keeps a state. Nothing is painted together.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from benchmarks.servers import Announcing


class Painter:
    """diffusers' pipeline of a folder, for requests of OpenAI's shape."""

    def __init__(self, folder: Path, size: int, steps: int) -> None:
        import torch
        from diffusers import StableDiffusionPipeline

        self.torch, self.kind = torch, StableDiffusionPipeline
        self.size, self.steps = size, steps
        torch.set_grad_enabled(False)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.pipe = self.kind.from_pretrained(folder, local_files_only=True).to(self.device)

    def paint(self, prompt: str, seed: int) -> str:
        """One picture as PNG in base64."""
        scheduler = self.pipe.scheduler.from_config(self.pipe.scheduler.config)
        own = self.kind(**self.pipe.components | {"scheduler": scheduler})
        own.set_progress_bar_config(disable=True)
        self.torch.set_grad_enabled(False)  # of this thread
        picture = own(
            prompt,
            height=self.size,
            width=self.size,
            num_inference_steps=self.steps,
            guidance_scale=1.0,
            generator=self.torch.Generator(self.device).manual_seed(seed),
        ).images[0]
        file = io.BytesIO()
        picture.save(file, "PNG")
        return base64.b64encode(file.getvalue()).decode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=4)
    options = parser.parse_args()
    painter = Painter(options.folder, options.size, options.steps)
    app = FastAPI()

    @app.post("/v1/images/generations")
    async def generate(wish: dict[str, Any]) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        text = await loop.run_in_executor(None, painter.paint, wish["prompt"], wish["seed"])
        return {"data": [{"b64_json": text}]}

    Announcing(uvicorn.Config(app, port=0, log_level="warning")).run()


if __name__ == "__main__":
    main()
