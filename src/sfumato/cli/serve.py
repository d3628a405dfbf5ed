"""`sfumato serve`: pictures over HTTP."""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from sfumato._backend import import_keras
from sfumato.cli import terminal
from sfumato.cli.help import Parser, UsageError

if TYPE_CHECKING:
    from sfumato.server.settings import Settings

EXTRA = "the server needs more packages: pip install 'sfumato[server]'"


def parser() -> Parser:
    """An option for each setting of the server."""
    return with_settings(
        "serve",
        "Serve pictures over HTTP: an API of its own, OpenAI's, A1111's and MCP.",
        "sfumato serve",
        "sfumato serve mini photo=./photo.safetensors --port 8000",
    )


def with_settings(name: str, summary: str, *examples: str, without: Collection[str] = ()) -> Parser:
    """The parser of a command with the settings of the server, but for these."""
    try:
        from sfumato.server.settings import Settings
    except ImportError as error:
        raise UsageError(EXTRA) from error

    made = Parser(name, summary, "[NAME=]MODEL... ", *examples)
    fields = {n: field for n, field in Settings.model_fields.items() if n not in without}
    models = fields.pop("models")
    places = f"{models.description} [mini mini-turbo]"
    made.add("models", "models", metavar="MODEL", nargs="*", help=places)
    for name, field in fields.items():
        _add(made, name, field)
    kept = "what is kept and told"
    made.add(kept, "--config", metavar="FILE", help="these settings in TOML")
    made.add(kept, "-h", "--help", action="help", help="this")
    return made


def _add(made: Parser, name: str, field: Any) -> None:
    """The option of one setting; what is not given is not there."""
    flag, group = name.replace("_", "-"), field.json_schema_extra["group"]
    given: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS}
    if isinstance(field.default, bool):
        flag = f"no-{flag}" if field.default else flag
        action = "store_false" if field.default else "store_true"
        help_ = f"not: {field.description}" if field.default else field.description
        made.add(group, f"--{flag}", action=action, help=help_, **given)
        return
    default = "" if field.default in (None, [], "") else f" [{field.default}]"
    text = f"{field.description}{default}".replace("%", "%%")
    made.add(group, f"--{flag}", metavar="X", help=text, **given)


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM; the address goes to stdout."""
    settings = settings_of(options)
    from sfumato.server.run import serve

    return serve(settings, terminal.write)


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings that are given, with Keras ready for their models."""
    given = {name: value for name, value in vars(options).items() if name != "config"}
    if not given["models"]:
        del given["models"]
    # Nothing is fetched while strangers ask: what is not on this machine is not served.
    os.environ["HF_HUB_OFFLINE"] = "1"
    from sfumato._files import expanded
    from sfumato.server.settings import read_settings

    try:
        settings = read_settings(expanded(options.config) if options.config else None, **given)
    except ValueError as error:
        raise UsageError(str(error)) from error
    import_keras(alone=True)
    return settings
