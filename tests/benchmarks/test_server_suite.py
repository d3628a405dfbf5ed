"""Servers under load: what is asked, what is counted, and that diffusers has the same model."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from benchmarks import report
from benchmarks.models import bundled
from benchmarks.records import Log, read
from benchmarks.servers import Asked, Load, Server, ask, serving
from benchmarks.suites import server
from benchmarks.workers import PeerError
from sfumato import load
from sfumato.diffusion.noise import latent_noise
from sfumato.presets import PRESETS

PICTURE = "iVBORw0KGgo="  # the first bytes of a PNG


class Handler(BaseHTTPRequestHandler):
    """Answers after a tenth of a second, one client after the other."""

    protocol_version = "HTTP/1.1"
    answer = json.dumps({"data": [{"b64_json": PICTURE}]}).encode()
    turn = threading.Lock()
    seeds: list[int] = []  # noqa: RUF012

    def do_POST(self) -> None:
        wish = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.seeds.append(wish["seed"])
        with self.turn:
            time.sleep(0.1)
        self.send_response(200)
        self.send_header("content-length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def slow() -> Iterator[Asked]:
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield Asked(Server("slow", 1, ()), f"http://127.0.0.1:{made.server_port}")
    made.shutdown()
    thread.join()
    made.server_close()


def test_clients_wait_for_each_other(slow: Asked, tmp_path: Path) -> None:
    Handler.seeds.clear()
    one, three = ask(slow, 1, 0.35), ask(slow, 3, 0.35)
    assert len(one.latencies) >= 2
    assert three.rate < 1.5 * 600  # ten a second, however many ask
    assert 0.1 <= one.percentile(50) <= three.percentile(50)
    assert three.percentile(99) >= 0.25  # behind two others
    counts = (len(one.latencies), len(three.latencies))
    assert sorted(Handler.seeds) == sorted(n + 1 for count in counts for n in range(count))

    log = Log(tmp_path / "x.jsonl", "server")
    server.record(slow.server, 3, [one, three], log)
    text = report.page([*read([tmp_path / "x.jsonl"])], tmp_path)
    assert "| slow | no | 3 |" in text
    assert f"| {sum(counts)} |" in text


def test_an_answer_without_a_picture_is_an_error(
    slow: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handler, "answer", b'{"data": [{"b64_json": "bm9uZQ=="}]}')
    with pytest.raises(PeerError, match="200"):
        ask(slow, 1, 1)


def test_percentiles() -> None:
    load = Load([0.1 * n for n in range(100, 0, -1)], 10)
    assert (load.rate, load.percentile(50), load.percentile(99)) == (600, 5.0, 9.9)
    assert Load([2.0], 1).percentile(99) == 2.0


def test_a_server_that_does_not_start_says_why() -> None:
    broken = Server("broken", 1, ("-c", "raise SystemExit('no such model')"))
    with pytest.raises(PeerError, match="no such model"), serving(broken):
        pass


@pytest.mark.slow
def test_diffusers_paints_the_same_picture_from_the_same_noise(tmp_path: Path) -> None:
    import torch
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(
        bundled("mini-turbo", tmp_path), local_files_only=True
    )
    pipe.set_progress_bar_config(disable=True)
    unet, size = pipe.unet.config, PRESETS["mini-turbo"].size
    noise = latent_noise(1, unet.sample_size, unet.sample_size, unet.in_channels)
    latents = torch.tensor(noise.transpose(2, 0, 1)[None].copy())
    theirs = pipe(
        "a red apple",
        latents=latents,
        num_inference_steps=4,
        guidance_scale=1.0,
        height=size,
        width=size,
        output_type="np",
    ).images[0]
    (ours,) = load("mini-turbo", dtype="float32").generate("a red apple", seed=1)
    assert np.abs(np.round(theirs * 255) - ours.pixels).max() <= 1
