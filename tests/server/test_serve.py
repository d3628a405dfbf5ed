"""`sfumato serve` as a process: it starts, paints, finishes at a signal, and asks no network."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from sfumato.cli import main
from sfumato.server.history import History

HERE = Path(__file__).parent
ASK = {"prompt": "a red apple", "seed": 1}

FAKE = """
import sys
from pathlib import Path
sys.path[:0] = {paths!r}
from fake_painters import Studio
from sfumato.server.run import serve
studio = Studio(Path({folder!r}), drain={drain})
studio.painter.pace = 0.05
sys.exit(serve(studio.settings, lambda address: print(address, flush=True), studio.service))
"""

REAL = """
import socket, sys
connect = socket.socket.connect

def near(self, address):
    assert self.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "::1"), address
    return connect(self, address)

def refuse(*args, **kwargs):
    raise AssertionError("a name was looked up")

socket.socket.connect = near
find = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **options: (
    find(host, *rest, **options) if host in ("127.0.0.1", "localhost") else refuse()
)
from sfumato.cli import main
sys.exit(main(["serve", "mini-turbo", "--port", "0", "--folder", {folder!r}]))
"""


@contextmanager
def process(code: str) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    made = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert made.stdout is not None
    try:
        with httpx.Client(base_url=made.stdout.readline().strip(), timeout=30) as client:
            yield made, client
    finally:
        made.kill()
        made.communicate()


def fake(folder: Path, drain: float = 20) -> str:
    paths = [str(HERE), str(HERE.parent)]
    return FAKE.format(paths=paths, folder=str(folder), drain=drain)


def running(client: httpx.Client, steps: int) -> str:
    url = client.post("/v1/jobs", json=ASK | {"steps": steps}).json()["url"]
    while client.get(url).json()["progress"] == 0:
        time.sleep(0.01)
    return url


def test_at_sigterm_it_finishes_takes_nothing_new_and_exits_0(tmp_path: Path):
    with process(fake(tmp_path)) as (made, client):
        running(client, 40)
        made.send_signal(signal.SIGTERM)
        while client.get("/readyz").status_code != 503:
            time.sleep(0.01)
        assert client.post("/v1/jobs", json=ASK).status_code == 503
        assert client.get("/healthz").status_code == 200
        assert made.wait(20) == 0
    history = History(tmp_path)
    (job,) = history.page(9)[0]
    assert (job["state"], len(job["pictures"])) == ("done", 1)
    history.close()


def test_what_takes_longer_than_drain_is_ended(tmp_path: Path):
    with process(fake(tmp_path, drain=0.2)) as (made, client):
        running(client, 150)
        start = time.monotonic()
        made.send_signal(signal.SIGTERM)
        assert made.wait(20) == 0
        assert time.monotonic() - start < 6  # the picture would take 7.5 seconds
    history = History(tmp_path)
    assert history.page(9)[0][0]["error"]["code"] == "interrupted"
    history.close()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(tmp_path: Path, second: signal.Signals):
    with process(fake(tmp_path)) as (made, client):
        running(client, 150)
        made.send_signal(signal.SIGTERM)
        while client.get("/readyz").status_code != 503:
            time.sleep(0.01)
        start = time.monotonic()
        made.send_signal(second)
        assert made.wait(20) == 1
        assert time.monotonic() - start < 3


def test_the_command_paints_and_asks_no_network(tmp_path: Path):
    with process(REAL.format(folder=str(tmp_path))) as (made, client):
        answer = client.post("/v1/jobs", json=ASK | {"steps": 1})
        assert answer.status_code == 202, answer.text
        url = answer.json()["url"]
        while (job := client.get(url).json())["state"] in ("queued", "running"):
            time.sleep(0.1)
        assert job["state"] == "done", job
        picture = Image.open(io.BytesIO(client.get(job["pictures"][0]["url"]).content))
        assert np.ptp(np.array(picture)) > 50
        assert "Model: mini-turbo" in picture.text["parameters"]  # type: ignore[attr-defined]
        assert client.get("/v1/capabilities").json()["models"][0]["loaded"]
        made.send_signal(signal.SIGINT)
        assert made.wait(20) == 0
        assert made.stderr is not None
        said = made.stderr.read()
    assert "red apple" not in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "`token` must be set"),
        (["--port", "x"], "`port`"),
        (["--config", "nowhere.toml"], "`config` must be a file"),
        (["nothing-like-it"], "no such file or folder"),
        (["sd1.5"], "the network is switched off"),
    ],
)
def test_what_cannot_be_served_is_said_at_the_start(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert main(["serve", "--folder", str(tmp_path), *arguments]) in (1, 2)
    assert message in capsys.readouterr().err


def test_without_the_extra_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "pydantic_settings", None)
    monkeypatch.delitem(sys.modules, "sfumato.server.settings", raising=False)
    assert main(["serve"]) == 2
    assert "pip install 'sfumato[server]'" in capsys.readouterr().err


def test_every_setting_is_an_option(capsys: pytest.CaptureFixture[str]):
    from sfumato.server.settings import Settings

    assert main(["serve", "--help"]) == 0
    text = capsys.readouterr().out
    for name in Settings.model_fields:
        flag = name.replace("_", "-")
        assert f"--{flag}" in text or f"--no-{flag}" in text or name == "models", name
    assert os.environ.get("HF_HUB_OFFLINE") == "1"
