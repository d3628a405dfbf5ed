"""The process of one peer: reads requests from stdin, writes replies to stdout, one JSON a line.

What the libraries print goes to stderr. Nothing heavy is imported before the first request, so that
the time of importing is seen.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from importlib import import_module

from benchmarks.peers import PEERS


def main() -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    peer = PEERS[sys.argv[1]]
    runner = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if runner is None:
                module = import_module(f"benchmarks.peers.{peer.module}")
                runner = module.Runner(**peer.options)
            result = getattr(runner, request["method"])(**request["arguments"])
            reply = {"result": result}
        except Exception:  # noqa: BLE001 (whatever it is, the parent reports it)
            reply = {"error": traceback.format_exc()}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()
    # Frameworks can hang or crash on their way out, and there is nothing left to save.
    os._exit(0)


if __name__ == "__main__":
    main()
