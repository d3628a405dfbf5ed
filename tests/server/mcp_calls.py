"""Calls of MCP's own client to a server that runs."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from fake_painters import Live
from mcp import Client
from PIL import Image

TOKEN = "s3cret"
START = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "x", "version": "1"},
}
SMALL = {"width": 16, "height": 16, "steps": 3}


def run(work: Callable[[Client], Awaitable[Any]], server: Any, mode: str = "auto") -> Any:
    """Do something with a client, in either of the protocol's two ways to begin."""

    async def working() -> Any:
        async with Client(server, mode=mode) as client:
            return await work(client)

    return asyncio.run(asyncio.wait_for(working(), 120))


def use(live: Live, work: Callable[[Client], Awaitable[Any]], mode: str = "auto") -> Any:
    return run(work, f"{live.address}/mcp", mode)


def call(live: Live, tool: str, /, **fields: Any) -> Any:
    return use(live, lambda client: client.call_tool(tool, fields))


def pictures(result: Any) -> list[tuple[Image.Image, dict[str, Any]]]:
    """The pictures of an answer with what is said of each."""
    assert not result.is_error, result.content
    blocks = result.content
    assert [block.type for block in blocks] == ["image", "text"] * (len(blocks) // 2)
    return [
        (Image.open(io.BytesIO(base64.b64decode(image.data))), json.loads(text.text))
        for image, text in zip(blocks[::2], blocks[1::2], strict=True)
    ]


def told(result: Any) -> dict[str, Any]:
    assert not result.is_error, result.content
    return json.loads(result.content[0].text)


def png(*shape: int) -> str:
    file = io.BytesIO()
    Image.fromarray(np.full(shape, 90, "uint8")).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
