"""``python -m benchmarks SUITE``: measure, and write what was measured as lines of JSON."""

from __future__ import annotations

import argparse
from importlib import import_module

from benchmarks.models import MODELS
from benchmarks.records import Log
from benchmarks.suites import SUITES, Plan

DTYPES = ("float32", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    made.add_argument("suite", choices=SUITES)
    made.add_argument("--json", metavar="FILE", help="append the measurements to FILE")
    made.add_argument("--tiny", action="store_true", help="try the harness on a tiny model")
    made.add_argument("--repeats", type=int, default=5, help="timed rounds [5]")
    made.add_argument("--peers", metavar="A,B", help="which peers [all that are installed]")
    made.add_argument("--model", choices=[name for name in MODELS if "tiny" not in name])
    made.add_argument("--size", type=int, help="of the pictures in pixels [the model's]")
    made.add_argument("--batch", type=int, default=1, help="pictures at a time [1]")
    made.add_argument("--steps", type=int, help="of a picture [the suite's]")
    made.add_argument("--dtype", choices=DTYPES, default="float32")
    made.add_argument("--minutes", type=float, help="begin nothing new after this time (cpu, gpu)")
    made.add_argument("--parts", metavar="A,B", help="of the cpu or gpu suite [all]")
    return made


def main(arguments: list[str] | None = None) -> None:
    options = vars(parser().parse_args(arguments))
    suite, path = options.pop("suite"), options.pop("json")
    plan = Plan(**options)
    log = Log(path, suite, plan.tiny)
    import_module(f"benchmarks.suites.{suite}").run(plan, log)


if __name__ == "__main__":
    main()
