"""The server: a queue of requests, one thread for each device, and the APIs that clients speak.

A request passes `app.py` (the door: who may enter, how much may come in), an API's own file
(`native.py`, `openai.py`, `sdapi.py`), which translates to a `Request`, `service.py` (a job of it),
`queue.py` (its turn) and `worker.py` (the pictures). Only a worker's thread touches a model.
"""

from __future__ import annotations
