"""Files are written whole or not at all, and JSON is checked as it is read."""

from __future__ import annotations

import json
import os
import stat

import pytest

from sfumato import _files
from sfumato._files import read_json, read_pad_token, replacing


def test_a_file_is_replaced_when_it_is_complete(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert [each.name for each in tmp_path.iterdir()] == ["x"]


def test_nothing_stays_of_a_file_that_fails(tmp_path):
    def fail() -> None:
        with replacing(tmp_path / "x") as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="Windows has other permissions")
@pytest.mark.parametrize(("options", "mode"), [({}, 0o640), ({"mode": 0o600}, 0o600)])
def test_permissions(tmp_path, options, mode):
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "x", **options):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == mode


@pytest.mark.parametrize("durable", [True, False])
def test_content_is_on_the_disk_before_the_name_is(tmp_path, monkeypatch, durable):
    calls = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: calls.append((tmp_path / "x").exists()))
    with replacing(tmp_path / "x", durable=durable) as file:
        file.write(b"content")
    assert calls == [False] * durable


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "`x.json` must be JSON"),
        ("[" * 99999, "`x.json` must be JSON"),
        ("\\xff", "`x.json` must be JSON"),
        ("[1]", "`x.json` must hold a JSON object"),
        (" " * (_files.MAX_JSON + 1), "`x.json` must have at most 1048576 bytes"),
    ],
)
def test_damaged_json_is_refused(tmp_path, text, message):
    path = tmp_path / "x.json"
    assert read_json(path) == {}
    path.write_text('{"a": 1}')
    assert read_json(path) == {"a": 1}
    path.write_text(text, "latin-1")
    with pytest.raises(ValueError, match=message):
        read_json(path)


@pytest.mark.parametrize(
    ("config", "other", "token"),
    [
        ({}, {}, None),
        ({"pad_token": "a"}, {}, "a"),
        ({"pad_token": "a"}, {"pad_token": "b"}, "b"),
        ({"pad_token": "a"}, {"pad_token": {"content": "b"}}, "b"),
        ({"pad_token": "a", "added_tokens_decoder": {}}, {"pad_token": "b"}, "a"),
    ],
)
def test_the_pad_token_is_where_transformers_looks_for_it(tmp_path, config, other, token):
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(other))
    assert read_pad_token(tmp_path) == token
