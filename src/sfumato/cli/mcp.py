"""`sfumato mcp`: pictures for language models, on stdin and stdout."""

from __future__ import annotations

import argparse

from sfumato.cli.help import Parser
from sfumato.cli.serve import settings_of, with_settings

OF_HTTP = (
    *("host", "port", "token", "insecure", "allowed_hosts", "cors", "root_path", "openai_names"),
    *("max_body", "metrics", "drain"),
)
"""The settings that mean nothing without an address."""


def parser() -> Parser:
    """An option for each setting that concerns the work."""
    return with_settings(
        "mcp",
        "Speak MCP on stdin and stdout, for programs with a language model.",
        "sfumato mcp",
        "sfumato mcp sd1.5 --pictures ~/Pictures",
        without=OF_HTTP,
    )


def run(options: argparse.Namespace) -> int:
    """Speak until stdin ends; stdout has the protocol and nothing else."""
    settings = settings_of(options)
    from sfumato.server.run import speak

    return speak(settings)
