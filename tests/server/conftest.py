"""Services with fake painters, stopped when their test ends, and OpenAI's client of one."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest
from fake_painters import Live
from studios import live, open_live, open_studio, studio

__all__ = ["live", "open_live", "open_studio", "studio"]


@pytest.fixture
def client(live: Live) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{live.address}/v1", api_key="anything", max_retries=0) as made:
        yield made
