"""Hostile requests get their status, and the server paints afterwards."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
from hostility import CLOSED, JSON, PNG, REQUESTS
from PIL import Image
from processes import Server, fake, serving

ASK = {"prompt": "a red apple", "steps": 1, "seed": 1}
QUICK = "import sfumato.server.door as door; door.PATIENCE, door.PACE = 1, 2**30"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    lists = {"allowed_hosts": ["my-machine"], "cors": ["http://listed.example"]}
    with serving(fake(folder, change=QUICK, max_body=1, **lists)) as made:
        yield made
        log = made.said()
    assert "Traceback" not in log
    assert " 500 " not in log


def paint(server: Server, **fields: object) -> dict:
    answer = server.client.post("/v1/jobs", content=json.dumps(ASK | fields), headers=JSON)
    assert answer.status_code == 202, answer.text
    return server.end(answer.json()["url"])


@pytest.mark.parametrize("name", REQUESTS)
def test_hostile(server: Server, name: str):
    send, status = REQUESTS[name]
    got = send(server.client)
    # Who is cut off may find the connection closed before it reads why.
    assert got == status or (got == CLOSED and status in (400, 413))
    assert paint(server)["state"] == "done"


def test_they_take_no_memory(server: Server):
    before = server.memory()
    for name in ("900 million pixels in a kilobyte", "100 MB of text", "a million values"):
        for _ in range(3):
            REQUESTS[name][0](server.client)
    assert server.memory() - before < 32 * 2**20


@pytest.mark.parametrize(
    "prompt",
    ["\ud800 lone", "nul\0", "<|endoftext|><|startoftext|>", "<b>x</b>", "é 猫 🐈", "a" * 20_000],
)
def test_text_of_any_kind_is_text(server: Server, prompt: str):
    job = paint(server, prompt=prompt)
    assert job["state"] == "done"
    assert job["request"]["prompt"] == prompt
    listed = server.client.get("/v1/jobs").json()["jobs"][0]
    assert listed["request"]["prompt"] == prompt


def test_what_is_served_is_the_server_s_own_file(server: Server):
    sent = io.BytesIO()
    Image.new("CMYK", (9, 7)).save(sent, "JPEG", comment=b"<script>alert(1)</script>")
    answer = server.client.post("/v1/uploads", content=sent.getvalue(), headers=PNG).json()
    got = server.client.get(answer["url"])
    assert got.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(got.content)).format == "PNG"
    assert b"script" not in got.content


@pytest.mark.parametrize("ranges", ["bytes=0-0," * 1500, "bytes=9999999-", "bytes=1-0", "x=1"])
def test_forged_ranges(server: Server, ranges: str):
    url = paint(server)["pictures"][0]["url"]
    answer = server.client.get(url, headers={"range": ranges})
    assert answer.status_code in (200, 206, 400, 416)
    assert len(answer.content) < 2**20
