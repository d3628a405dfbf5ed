"""More pictures than one process makes: tables of requests, and many machines by Ray.

`tables.py` reads rows, `painting.py` paints them, `results.py` writes what came of each. `batch.py`
does so in this process and `cluster.py` on a cluster, by the same functions. `serve.py` lets the
workers of a cluster paint for the server. Ray is imported by these two alone, when they are used.
"""

from __future__ import annotations
