"""`sfumato serve`: what it says at the start."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from sfumato.cli import main


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
