"""MCP on standard input and output, by the official client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fake_painters import Studio, pixels_of
from mcp import Client, StdioServerParameters
from mcp_calls import SMALL, START, pictures, run
from PIL import Image

from sfumato.request import Request
from sfumato.server.history import History

HERE = Path(__file__).parent
FAKE = """
import os, sys
from pathlib import Path
sys.path[:0] = {paths!r}
from fake_painters import Studio
from sfumato.server.run import speak
studio = Studio(Path({folder!r}))
paint = studio.painter.stream
def stream(requests):
    print("said while it paints", flush=True)
    os.write(1, b"said by a library")
    yield from paint(requests)
studio.painter.stream = stream
sys.exit(speak(studio.settings, studio.service))
"""


def fake(folder: Path) -> StdioServerParameters:
    code = FAKE.format(paths=[str(HERE), str(HERE.parent)], folder=str(folder))
    return StdioServerParameters(command=sys.executable, args=["-c", code], env={**os.environ})


def test_on_stdio_a_picture_has_its_path(tmp_path: Path):
    async def work(client: Client) -> Any:
        assert len((await client.list_tools()).tools) == 5
        wrong = await client.call_tool("generate_image", {"prompt": "x", "steps": -1})
        assert wrong.is_error
        made = await client.call_tool("generate_image", {"prompt": "x", "seed": 3} | SMALL)
        ((_, about),) = pictures(made)
        again = {"image": about["path"], "prompt": "y"} | SMALL
        return pictures(made) + pictures(await client.call_tool("edit_image", again))

    (picture, about), (_, other) = run(work, fake(tmp_path))
    assert np.array_equal(np.array(Image.open(about["path"])), np.array(picture))
    assert np.array_equal(
        np.array(picture), pixels_of(Request(prompt="x", seed=3, width=16, height=16))
    )
    assert Path(other["path"]).parent == tmp_path / "pictures"


def test_stdout_has_the_protocol_and_nothing_else(tmp_path: Path):
    lines = [
        {"id": 1, "method": "initialize", "params": START},
        {"method": "notifications/initialized"},
        {
            "id": 2,
            "method": "tools/call",
            "params": {"name": "generate_image", "arguments": {"prompt": "x"} | SMALL},
        },
    ]
    server = fake(tmp_path)
    process = subprocess.Popen(
        [server.command, *server.args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for line in lines:
        process.stdin.write(json.dumps({"jsonrpc": "2.0"} | line) + "\n")
    process.stdin.flush()
    answers = []
    while len(answers) < 2:
        answers.append(json.loads(process.stdout.readline()))
    rest, said = process.communicate(timeout=20)  # closes stdin, which ends it
    assert [answer["id"] for answer in answers] == [1, 2]
    assert rest == ""
    assert "said by a library" in said
    assert "said while it paints" in said
    assert process.returncode == 0


def test_each_process_has_a_folder_of_its_own(open_studio: Callable[..., Studio], tmp_path: Path):
    from sfumato.server.run import own_history
    from sfumato.server.settings import read_settings

    settings = read_settings(folder=tmp_path / "mine")
    one, two = own_history(settings), own_history(settings)
    assert (one.folder.name, two.folder.name) == ("mine", "mine-2")
    one.close()
    two.close()


def test_the_command_paints_with_the_bundled_model_and_no_network(tmp_path: Path):
    environment = {**os.environ, "SFUMATO_FOLDER": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    command = ["-m", "sfumato", "mcp", "mini-turbo"]
    server = StdioServerParameters(command=sys.executable, args=command, env=environment)

    async def work(client: Client) -> Any:
        return await client.call_tool("generate_image", {"prompt": "a red apple", "steps": 1})

    ((picture, about),) = pictures(run(work, server))
    assert np.ptp(np.array(picture)) > 50
    assert about["model"] == "mini-turbo"
    history = History(tmp_path)
    assert history.page(9)[0][0]["state"] == "done"
    history.close()
