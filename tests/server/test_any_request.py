"""Requests of any kind over HTTP, made from the description of the API by schemathesis.

None is answered with a 5xx, and no answer has a traceback or a path of this machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fake_painters import Live
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

import sfumato

pytestmark = pytest.mark.slow

QUICK = settings(
    max_examples=int(os.environ.get("SFUMATO_EXAMPLES", "8")),
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[*HealthCheck],
    database=None,
)
SECRETS = ("Traceback", 'File "', "site-packages", str(Path(sfumato.__file__).parent))


def operations(live: Live) -> Iterator[Any]:
    schema = schemathesis.openapi.from_url(f"{live.address}/openapi.json")
    for found in schema.get_all_operations():
        yield found.ok()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_answer_is_a_500_or_tells_a_path(
    open_live: Callable[..., Live], mode: GenerationMode, tmp_path: Path
):
    live = open_live(max_side=64, max_pixels=4096, max_steps=5, max_count=2)
    statuses: set[int] = set()
    for operation in operations(live):
        if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query):
            continue  # nothing to do wrong

        @QUICK
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            answer = case.call(session=None, timeout=20)
            statuses.add(answer.status_code)
            assert answer.status_code < 500, (case.method, case.path, answer.text)
            for secret in (*SECRETS, str(tmp_path)):
                assert secret not in answer.text, (case.method, case.path)

        ask()
    assert {200, 400, 404} <= statuses if mode is GenerationMode.NEGATIVE else 200 in statuses
