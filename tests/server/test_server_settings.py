"""Settings from the command line, the environment and a file, in this order."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfumato.server.settings import read_settings

FILE = """
port = 1111
batch = 2
allowed_hosts = ["one", "two"]
[models]
photo = { source = "/models/photo.safetensors", dtype = "float16" }
mini = "mini"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "serve.toml"
    path.write_text(FILE)
    return path


def test_the_command_line_comes_first_and_the_file_last(
    file: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = read_settings(file)
    assert (settings.port, settings.batch, settings.queue) == (1111, 2, 64)
    monkeypatch.setenv("SFUMATO_PORT", "2222")
    monkeypatch.setenv("SFUMATO_ALLOWED_HOSTS", "three, four")
    assert read_settings(file).port == 2222
    assert read_settings(file).allowed_hosts == ["three", "four"]
    assert read_settings(file, port=3333).port == 3333
    assert read_settings(file).default_model == "photo"
    assert read_settings(file).models["photo"].dtype == "float16"


def test_models_are_named_or_take_the_name_of_their_file(tmp_path: Path):
    (tmp_path / "photo.v2.safetensors").touch()
    (tmp_path / "folder.v1").mkdir()
    words = ["sd1.5", "best=sd2.1", str(tmp_path / "photo.v2.safetensors")]
    found = read_settings(models=[*words, str(tmp_path / "folder.v1")]).models
    assert [*found] == ["sd1.5", "best", "photo.v2", "folder.v1"]
    assert found["best"].source == "sd2.1"


def test_a_token_is_never_shown():
    settings = read_settings(token="very-secret")
    assert "very-secret" not in f"{settings!r} {settings} {settings.model_dump()}"
    with pytest.raises(ValueError, match="token") as caught:
        read_settings(token=["very-secret"])
    assert "very-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"port": 70000}, "`port`: .*65535. Received: 70000"),
        ({"models": []}, "`models`: must name a model"),
        ({"prot": 1}, "`prot`"),
        ({"models": {"a": {"source": "mini", "typo": 1}}}, "`models.a.typo`"),
    ],
)
def test_errors_name_the_setting(given: dict, message: str):
    with pytest.raises(ValueError, match=message):
        read_settings(**given)


def test_a_file_that_is_none(tmp_path: Path):
    with pytest.raises(ValueError, match="`config` must be a file"):
        read_settings(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("port = = 1")
    with pytest.raises(ValueError, match="`config` must be TOML"):
        read_settings(tmp_path / "bad.toml")
