"""Ten times more than the server can do: it says so, forgets nothing, and does not grow."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable

import httpx
import psutil
from fake_painters import Live

from sfumato.pictures.pixels import to_data_url


def test_overload_is_refused_and_memory_stays(open_live: Callable[..., Live]):
    live = open_live(queue=8, batch=4)
    live.studio.painter.pace = 0.002
    import numpy as np

    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), "uint8")
    body = json.dumps({"prompt": "x" * 5000, "steps": 2, "image": to_data_url(noise)}).encode()
    headers = {"content-type": "application/json"}
    answers: Counter[int] = Counter()
    accepted: list[str] = []

    def ask(count: int) -> None:
        with httpx.Client(base_url=live.address, timeout=30) as client:
            for _ in range(count):
                answer = client.post("/v1/jobs", content=body, headers=headers)
                answers[answer.status_code] += 1
                if answer.status_code == 202:
                    accepted.append(answer.json()["url"])
                else:
                    assert int(answer.headers["retry-after"]) > 0

    def flood(count: int) -> None:
        threads = [threading.Thread(target=ask, args=(count,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    flood(5)
    before = psutil.Process().memory_info().rss
    flood(15)
    while live.studio.service.live():
        time.sleep(0.01)
    grown = psutil.Process().memory_info().rss - before
    assert set(answers) == {202, 429}
    assert answers[429] > answers[202] / 4
    assert grown < 64 * 2**20  # 120 bodies of 300 kB, and their pictures, would be more
    states = Counter(live.client.get(url).json()["state"] for url in accepted[-50:])
    assert set(states) == {"done"}  # what was taken was done
