"""MCP, judged by its official client: over HTTP with a real server, on stdio as a process."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import jsonschema
import numpy as np
import pytest
from fake_painters import Live, pixels_of
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_calls import SMALL, START, TOKEN, call, pictures, png, told, use
from PIL import Image

from sfumato.request import Request
from sfumato.server.mcp import SHOWN, Tools


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_picture_with_its_seed_its_place_and_the_steps(live: Live, mode: str):
    steps: list[tuple[float, float | None, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        steps.append((progress, total, message))

    async def work(client: Client) -> Any:
        fields = {"prompt": "a red apple", "seed": 7, "count": 2, "negative_prompt": None} | SMALL
        return await client.call_tool("generate_image", fields, progress_callback=note)

    live.studio.painter.pace = 0.02
    _, (second, about) = pictures(use(live, work, mode))
    request = Request(prompt="a red apple", seed=8, width=16, height=16)
    assert np.array_equal(np.array(second), pixels_of(request))
    assert (about["seed"], about["width"], about["model"]) == (8, 16, "fake")
    content = live.client.get(about["url"]).content
    assert np.array_equal(np.array(Image.open(io.BytesIO(content))), np.array(second))
    assert "path" not in about
    done = [progress for progress, _, _ in steps]
    assert done == sorted(set(done))
    assert {total for _, total, _ in steps} == {6}
    assert {"step 1 of 3", "step 3 of 3"} <= {message for _, _, message in steps}


def test_the_descriptions_are_short_and_hold(open_live: Callable[..., Live]):
    live = open_live(max_steps=20)

    async def work(client: Client) -> Any:
        return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in use(live, work)}
    names = ["generate_image", "edit_image", "list_models", "get_status", "cancel"]
    assert [*tools] == names
    for tool in tools.values():
        jsonschema.Draft202012Validator.check_schema(tool.input_schema)
        assert tool.description
        for field in tool.input_schema["properties"].values():
            assert field["description"]
    schema = tools["generate_image"].input_schema
    assert next(iter(schema["properties"])) == "prompt"
    assert schema["required"] == ["prompt"]
    assert schema["properties"]["model"]["enum"] == ["fake"]
    assert schema["properties"]["steps"]["maximum"] == 20
    assert len(json.dumps([tool.input_schema for tool in tools.values()])) < 5000
    assert tools["edit_image"].input_schema["required"] == ["image", "prompt"]
    assert pictures(call(live, "generate_image", prompt="x", **SMALL, sampler="euler_a"))
    assert live.asked()["sampler"] == "euler_a"  # not described, and taken


def test_a_picture_is_painted_again_by_any_name_it_was_told_by(live: Live, tmp_path: Path):
    ((_, about),) = pictures(call(live, "generate_image", prompt="x", **SMALL))
    path = f"/anywhere/server/pictures/{about['picture'].removeprefix('picture:')}.png"
    for image in (about["picture"], about["url"], path, png(16, 16, 3)):
        fields = {"image": image, "prompt": "a cat", "steps": 3, "strength": 0.5}
        ((picture, _),) = pictures(call(live, "edit_image", **fields))
        assert picture.size == (16, 16)
        assert (live.asked()["strength"], live.asked()["resize"]) == (0.5, "crop")
    ((picture, _),) = pictures(
        call(live, "edit_image", image=png(100, 400, 3), mask=png(100, 400), prompt="x", steps=3)
    )
    assert picture.size == (32, 8)  # the model's area, in the picture's shape
    assert "mask" in live.asked()


def test_files_are_read_in_the_named_folder_alone(open_live: Callable[..., Live], tmp_path: Path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    secret = tmp_path / "secret.png"
    for path in (secret, folder / "cat.png"):
        Image.new("RGB", (16, 16)).save(path)
    (folder / "link.png").symlink_to(secret)
    closed, open_ = open_live(), open_live(pictures=folder)
    fields = {"prompt": "x", "steps": 3}
    for image in ("cat.png", str(folder / "cat.png")):
        assert pictures(call(open_, "edit_image", image=image, **fields))
        assert call(closed, "edit_image", image=image, **fields).is_error
    hostile = ["../secret.png", str(secret), "link.png", "none.png", "a\0.png", f"{'a' * 5000}.png"]
    for image in (*hostile, "file:///etc/passwd", "http://169.254.169.254/x.png", "picture:x"):
        result = call(open_, "edit_image", image=image, **fields)
        assert result.is_error
        assert result.content[0].text.startswith("invalid_request: `image`"), image


@pytest.mark.parametrize(
    ("tool", "fields", "said"),
    [
        ("generate_image", {}, "`prompt`"),
        ("generate_image", {"prompt": "x", "steps": 0}, "`steps` must"),
        ("generate_image", {"prompt": "x", "steps": 1000}, "`steps` must be at most"),
        ("generate_image", {"prompt": "x", "model": "none-such"}, "`model` must be one of fake"),
        ("generate_image", {"prompt": "x", "nothing": 1}, "must have fields among prompt"),
        ("generate_image", {"prompt": "x\ud800", "sampler": "\ud800"}, "`sampler`"),
        ("edit_image", {"prompt": "x"}, "`image` must be given"),
        ("edit_image", {"prompt": "x", "image": 5}, "`image`"),
        ("get_status", {"job": "none"}, "not_found"),
        ("cancel", {"job": 5}, "not_found"),
    ],
)
def test_what_is_wrong_is_said_to_the_model(
    live: Live, tool: str, fields: dict[str, Any], said: str
):
    async def work() -> Any:
        class Context:
            request = None

        return await Tools(live.studio.service).call(Context(), tool, fields)

    result = asyncio.run(work())
    assert result.is_error
    assert said in result.content[0].text
    result.model_dump_json()  # can be sent


def test_a_tool_that_is_not_there(live: Live):
    async def work(client: Client) -> None:
        with pytest.raises(MCPError, match="no such tool"):
            await client.call_tool("rm", {})

    use(live, work)


def test_a_failure_has_its_code_and_no_trace(live: Live):
    def trouble(requests: Any) -> None:
        raise OSError("/secret/path")

    live.studio.painter.trouble = trouble
    result = call(live, "generate_image", prompt="x", **SMALL)
    assert result.is_error
    assert result.content[0].text == "internal: The server failed. Its log has the reason."


def test_a_full_queue_is_said(open_live: Callable[..., Live]):
    live = open_live(queue=1)
    live.fill()
    result = call(live, "generate_image", prompt="x", **SMALL)
    assert result.is_error
    assert result.content[0].text.startswith("queue_full")


async def until(client: Client, name: str, value: int) -> None:
    while told(await client.call_tool("get_status", {}))[name] != value:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_client_that_gives_up_cancels_the_job(live: Live, mode: str):
    live.studio.painter.pace = 0.02

    async def work(client: Client) -> None:
        fields = {"prompt": "x"} | SMALL | {"steps": 150}
        waiting = asyncio.create_task(client.call_tool("generate_image", fields))
        await until(client, "running", 1)
        waiting.cancel()
        await until(client, "running", 0)

    use(live, work, mode)
    assert live.client.get("/v1/jobs").json()["jobs"][0]["state"] == "cancelled"
    assert live.studio.painter.steps_done < 150


def test_a_client_that_leaves_cancels_the_job(live: Live):
    live.studio.painter.pace = 0.02

    async def leave(client: Client) -> None:
        fields = {"prompt": "x"} | SMALL | {"steps": 150}
        asyncio.create_task(client.call_tool("generate_image", fields))  # noqa: RUF006
        await until(client, "running", 1)

    for mode in ("auto", "legacy"):
        use(live, leave, mode)
        use(live, lambda client: until(client, "running", 0))


def test_jobs_that_nobody_waits_for(live: Live):
    live.studio.painter.gate.clear()

    async def work(client: Client) -> Any:
        fields = {"prompt": "x", "wait": False} | SMALL
        one, two = [told(await client.call_tool("generate_image", fields)) for _ in range(2)]
        status = told(await client.call_tool("get_status", {}))
        assert {job["job"] for job in status["your_jobs"]} == {one["job"], two["job"]}
        ended = told(await client.call_tool("cancel", {"job": two["job"]}))
        assert [job["state"] for job in ended["jobs"]] == ["cancelled"]
        live.studio.painter.gate.set()
        await until(client, "running", 0)
        while (result := await client.call_tool("get_status", one)).content[0].type == "text":
            await asyncio.sleep(0.01)
        assert told(await client.call_tool("cancel", {})) == {"jobs": []}
        return result

    ((picture, _),) = pictures(use(live, work))
    assert picture.size == (16, 16)


def test_models_are_listed(open_live: Callable[..., Live], tmp_path: Path):
    live = open_live(models=["fake=mini", "other=mini-turbo"])
    found = told(call(live, "list_models"))
    assert [model["name"] for model in found["models"]] == ["fake", "other"]
    assert found["loras"] == []
    assert pictures(call(live, "generate_image", prompt="x", model="other", **SMALL))
    assert live.asked()["model"] == "other"


def test_a_large_picture_is_shown_as_clients_can_take_it(
    live: Live, monkeypatch: pytest.MonkeyPatch
):
    noise = np.random.default_rng(0).integers(0, 256, (1024, 768, 3), "uint8")
    monkeypatch.setattr("fake_painters.pixels_of", lambda request: noise)
    result = call(live, "generate_image", prompt="x", steps=1, width=768, height=1024)
    ((picture, about),) = pictures(result)
    assert len(result.content[0].data) * 3 // 4 <= SHOWN
    assert result.content[0].mime_type == "image/jpeg"
    assert picture.size in [(768, 1024), (384, 512)]
    assert (about["width"], about["height"]) == (768, 1024)


# The door


async def _with_headers(live: Live, **headers: str) -> list[str]:
    async with httpx2.AsyncClient(headers=headers, timeout=10) as http:
        transport = streamable_http_client(f"{live.address}/mcp", http_client=http)
        async with Client(transport) as client:
            return [tool.name for tool in (await client.list_tools()).tools]


def test_the_token_is_needed_here_too(open_live: Callable[..., Live]):
    live = open_live(token=TOKEN)
    names = asyncio.run(_with_headers(live, Authorization=f"Bearer {TOKEN}"))
    assert "generate_image" in names
    for method in ("get", "post", "delete"):
        assert live.client.request(method, "/mcp").status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({}, 200),
    ],
)
def test_the_door_stands_before_it(live: Live, headers: dict[str, str], status: int):
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": START,
    }
    accepted = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    answer = live.client.post("/mcp", json=body, headers=accepted | headers)
    assert answer.status_code == status
    assert "x-request-id" in answer.headers


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"5", b'{"jsonrpc": "2.0"}', b'{"a":' * 9999, b"\xff", b"[1e999]"]
)
def test_bodies_that_are_none_are_refused(live: Live, body: bytes):
    headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    for version in ({}, {"MCP-Protocol-Version": "2026-07-28"}):
        answer = live.client.post("/mcp", content=body, headers=headers | version)
        assert 400 <= answer.status_code < 500
        assert "Traceback" not in answer.text
