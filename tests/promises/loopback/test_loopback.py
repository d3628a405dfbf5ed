"""A server listens to its own machine, unless its user says otherwise in so many words."""

from __future__ import annotations

from collections.abc import Callable

import psutil
import pytest
from fake_painters import Live

from sfumato.server.settings import read_settings


def test_the_network_is_let_in_with_a_token_alone(monkeypatch: pytest.MonkeyPatch):
    for host in ("0.0.0.0", "::", "192.168.1.5", "my-machine"):
        with pytest.raises(ValueError, match="`token` must be set .* or `insecure` be said"):
            read_settings(host=host)
        assert read_settings(host=host, insecure=True).is_exposed
        assert read_settings(host=host, token="secret").is_exposed
    for host in ("127.0.0.1", "::1", "localhost", "127.8.8.8"):
        assert not read_settings(host=host).is_exposed
    monkeypatch.setenv("SFUMATO_TOKEN", "  ")
    with pytest.raises(ValueError, match="`token` must not be empty"):
        read_settings(host="0.0.0.0")


def test_it_listens_where_it_says(open_live: Callable[..., Live]):
    live = open_live()
    listening = [c.laddr for c in psutil.Process().net_connections("tcp") if c.status == "LISTEN"]
    assert ("127.0.0.1", live.port) in listening
    assert all(ip == "127.0.0.1" for ip, port in listening if port == live.port)
