"""While it serves, nothing is asked of the network: no connection, no name, not one packet."""

from __future__ import annotations

import io
import signal
from pathlib import Path

import numpy as np
from PIL import Image
from processes import serving

ASK = {"prompt": "a red apple", "seed": 1}


REAL = """
import os, socket, sys
from pathlib import Path
HERE = ("127.0.0.1", "::1", "localhost")
said = Path({said!r})

def watch(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.bind"):
        connection, address = arguments[0], arguments[-1]
        is_near = connection.family == socket.AF_UNIX or address is None or address[0] in HERE
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        address = arguments[0]
        is_near = address in HERE
    else:
        return
    with said.open("a") as file:
        file.write(f"{{'near' if is_near else 'far'}} {{event}} {{address}}\\n")
    if not is_near:
        raise OSError("no network")

sys.addaudithook(watch)
os.environ.pop("HF_HUB_OFFLINE", None)
from sfumato.cli import main
sys.exit(main(["serve", "mini-turbo", "--port", "0", "--folder", {folder!r}]))
"""


WISHES = [
    {"image": "https://example.com/x.png"},
    {"image": "data:image/png;base64,//example.com/x.png"},
    {"model": "someone/repository"},
    {"model": "https://huggingface.co/someone/repository"},
    {"decoder": "someone/repository"},
    {"upscale": 2, "upscaler": "someone/repository"},
    {"loras": [["someone/repository", 1]]},
]


def test_the_command_paints_and_asks_no_network(tmp_path: Path):
    said = tmp_path / "said"
    with serving(REAL.format(folder=str(tmp_path / "server"), said=str(said))) as server:
        client = server.client
        answer = client.post("/v1/jobs", json=ASK | {"steps": 1})
        assert answer.status_code == 202, answer.text
        job = server.end(answer.json()["url"])
        assert job["state"] == "done", job
        picture = Image.open(io.BytesIO(client.get(job["pictures"][0]["url"]).content))
        assert np.ptp(np.array(picture)) > 50
        assert "Model: mini-turbo" in picture.text["parameters"]  # type: ignore[attr-defined]
        assert client.get("/v1/capabilities").json()["models"][0]["loaded"]
        for wish in WISHES:
            assert client.post("/v1/jobs", json=ASK | wish).status_code == 400, wish
        given = {"sd_model_checkpoint": "someone/repository"}
        assert client.post("/sdapi/v1/options", json=given).status_code == 400
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(20) == 0
        log = server.said()
    events = said.read_text().splitlines()
    assert any(event.startswith("near socket.bind") for event in events)  # it was watched
    assert [event for event in events if event.startswith("far")] == []
    assert "red apple" not in log
    assert "Traceback" not in log
