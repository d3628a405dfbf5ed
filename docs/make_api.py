"""The page of all paths of the server, from their declarations: `python docs/make_api.py`."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sfumato.server.app import make_app
from sfumato.server.errors import STATUS
from sfumato.server.mcp_tools import described
from sfumato.server.models import Models
from sfumato.server.service import Service
from sfumato.server.settings import read_settings

PAGE = Path(__file__).with_name("api.md")

HEAD = """\
<!-- Made by make_api.py: change that file, or the declarations, not this one. -->

# The server, path by path

[The server](server.md) tells what each API is for, and has examples. `/openapi.json` has the same
as here for programs, with the type of every field. A [request](request.md) has a page of its own.

- Bodies are JSON unless it says otherwise. Pictures in JSON are data URLs, or bare base64.
- With a token, every path wants `Authorization: Bearer TOKEN`, but for `/healthz` and `/readyz`.
- Each answer has `X-Request-Id`, under which the log knows it.
"""

TITLES = {
    "native": "Its own API",
    "OpenAI": "OpenAI's",
    "A1111": "A1111's",
    "health": "For who watches it",
}
"""The headings, by the tags of the paths, in this order."""

ERRORS = """\
## Errors

`{"error": {"message": ..., "type": ..., "param": ..., "code": ...}}`, in A1111's API
`{"detail": ..., "error": CODE}`. `param` names the field that is wrong. A failed job has `code` and
`message` in its `error`.

| code | status |
|---|---|
"""

MCP = """\
## MCP

`/mcp` speaks the Model Context Protocol over HTTP, `sfumato mcp` on stdin and stdout. A field that
is not named here is taken, too, if a [request](request.md) has it.

| tool | what it does | fields |
|---|---|---|
"""


def make_page() -> str:
    """The page: a table for each API, of errors and of tools."""
    with tempfile.TemporaryDirectory() as folder:
        settings = read_settings(folder=Path(folder))
        service = Service(settings, [Models(settings)])
        app: Any = make_app(service)
        schema, tools = app.app.openapi(), described(service)
        service.history.close()
    tables = [table(schema, tag, title) for tag, title in TITLES.items()]
    codes = [f"| `{code}` | {status} |\n" for code, status in sorted(STATUS.items())]
    rows = [f"| `{t.name}` | {t.description} | {fields(t.input_schema)} |\n" for t in tools]
    return "\n".join([HEAD, *tables, ERRORS + "".join(codes), MCP + "".join(rows)])


def table(schema: dict[str, Any], tag: str, title: str) -> str:
    """The paths of one API."""
    head = f"## {title}\n\n| path | what it does | body, or query | answer |\n|---|---|---|---|\n"
    return head + "".join(
        row(method, path, operation)
        for path, item in schema["paths"].items()
        for method, operation in item.items()
        if operation["tags"] == [tag]
    )


def row(method: str, path: str, operation: dict[str, Any]) -> str:
    what = operation["description"].replace("\n", " ")
    cells = (f"`{method.upper()} {path}`", what, "<br>".join(taken(operation)), answer(operation))
    return f"| {' | '.join(cells)} |\n"


def taken(operation: dict[str, Any]) -> Iterator[str]:
    """The parameters and the bodies of an operation."""
    for parameter in operation.get("parameters", []):
        known = parameter["schema"]
        if parameter["in"] == "query":
            yield f"`?{parameter['name']}`"
        elif "enum" in known:
            yield f"`{parameter['name']}`: {', '.join(f'`{name}`' for name in known['enum'])}"
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        known = content["schema"]
        if "$ref" in known:
            yield "a [request](request.md)"
        elif "properties" in known:
            form = "a form: " if kind.startswith("multipart/") else ""
            yield form + fields(known)
        else:
            yield f"`{kind}`"


def fields(schema: dict[str, Any]) -> str:
    """The names of an object's fields; those in bold must be given."""
    required = schema.get("required", [])
    names = schema["properties"]
    return ", ".join(f"**`{name}`**" if name in required else f"`{name}`" for name in names)


def answer(operation: dict[str, Any]) -> str:
    """The status of an answer that is no error, and its kind if that is not JSON."""
    status, found = next((s, r) for s, r in operation["responses"].items() if s.isdigit())
    kinds = [kind for kind in found.get("content", {}) if kind != "application/json"]
    return " ".join([status, *(f"`{re.sub(';.*', '', kind)}`" for kind in kinds)])


if __name__ == "__main__":
    PAGE.write_text(make_page(), "utf-8")
