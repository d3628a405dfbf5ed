"""One measurement as one line of JSON, with all that is needed to believe it."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "sfumato",
    "keras",
    "jax",
    "jaxlib",
    "tensorflow",
    "tensorflow_cpu",
    "torch",
    "openvino",
    "diffusers",
    "transformers",
    "keras_cv",
    "zeromodels",
    "numpy",
)


NO_TIME = "no time was left"  # of a failure that a later run may make good


class Log:
    """Writes records to a file as they come, and a line about each to stderr.

    Args:
        path: of the file, or None.
        suite: which the records belong to.
        tiny: whether they are trials of the harness.
        resume: whether ``earlier`` finds what the file has of this commit on this machine.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        suite: str,
        tiny: bool = False,
        resume: bool = False,
    ) -> None:
        self.path = Path(path) if path else None
        self.common = {"suite": suite, "tiny": tiny, **circumstances()}
        self.records: list[dict[str, Any]] = []
        if resume and self.path and self.path.exists():
            keys = ("suite", "tiny", "machine", "commit")
            same = [self.common[key] for key in keys]
            self.records = [r for r in read([path]) if [r.get(key) for key in keys] == same]
        self.resume = resume

    def earlier(self, peer: str, metric: str, case: Mapping[str, Any]) -> dict[str, Any] | None:
        """The last record of the same thing, where measurements are resumed."""
        wanted = (peer, metric, json.loads(json.dumps(case)))
        for record in reversed(self.records if self.resume else []):
            if (record["peer"], record["metric"], record["case"]) == wanted:
                return record
        return None

    def values(self, peer: str, metric: str, case: Mapping[str, Any]) -> list[float]:
        """What ``earlier`` measured."""
        return (self.earlier(peer, metric, case) or {}).get("values", [])

    def __call__(
        self,
        peer: str,
        metric: str,
        unit: str,
        values: Sequence[float],
        case: Mapping[str, Any],
        **extra: Any,
    ) -> dict[str, Any]:
        """Add the timed values of a metric of a peer in a case."""
        record = {
            **self.common,
            "peer": peer,
            "metric": metric,
            "unit": unit,
            "case": dict(case),
            **summary(values),
            "load_average": round(os.getloadavg()[0], 2),  # of the last minute: was it alone?
            **extra,
        }
        self.write(record)
        print(describe(record), file=sys.stderr, flush=True)
        return record

    def failure(self, peer: str, metric: str, case: Mapping[str, Any], error: str) -> None:
        """A peer that could not be measured is part of the result, and says why."""
        reason = error.strip().splitlines()[-1] if error.strip() else "no message"
        record = {**self.common, "peer": peer, "metric": metric, "case": dict(case)}
        self.write({**record, "error": reason})
        print(f"{peer}: {metric}: {reason}", file=sys.stderr, flush=True)

    def write(self, record: dict[str, Any]) -> None:
        self.records.append(record)
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Median and spread: half the distance of the quartiles (of fewer than 4, of the extremes)."""
    ordered = sorted(values)
    if len(ordered) >= 4:
        low, _, high = statistics.quantiles(ordered, n=4, method="inclusive")
    else:
        low, high = ordered[0], ordered[-1]
    return {
        "values": [round(value, 6) for value in values],
        "median": round(statistics.median(ordered), 6),
        "spread": round((high - low) / 2, 6),
    }


def read(paths: Sequence[str | os.PathLike[str]]) -> Iterator[dict[str, Any]]:
    """The records of files of JSON lines; a line cut short by a crash is left out."""
    for path in paths:
        for line in Path(path).read_text("utf-8").splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                continue


def describe(record: Mapping[str, Any]) -> str:
    case = " ".join(f"{key}={value}" for key, value in record["case"].items())
    number = f"{record['median']:.4g} {record['unit']} ± {record['spread']:.2g}"
    return f"{record['peer']}: {record['metric']} {number} ({len(record['values'])}x; {case})"


@cache
def circumstances() -> dict[str, Any]:
    """Machine, versions, commit and date: the same for everything that one run measures."""
    return {
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def machine() -> dict[str, Any]:
    """Processor, cores that this process may use, memory, accelerator."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": processor(),
        "cores": cores,
        "memory_gib": round(memory / 2**30, 1),
        "accelerator": accelerator(),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }


def processor() -> str:
    """The model, with family and instructions where the name alone says little."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or "unknown"
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    info = {key.strip(): value.strip() for key, value in pairs}
    flags = info.get("flags", "").split()
    known = [name for name in ("avx2", "avx512f", "avx512_vnni", "amx_tile") if name in flags]
    name = info.get("model name", "unknown")
    number = f"family {info.get('cpu family')} model {info.get('model')}"
    return f"{name} ({number}; {' '.join(known) or 'no AVX'})"


def accelerator() -> str | None:
    """The name of the first NVIDIA device, or None."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        text = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return text.strip().splitlines()[0] if text.strip() else None


def versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The last commit that changed what is measured; "+" where there are changes since.

    Without git, a digest of the files.
    """
    root = Path(__file__).parent.parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
        return run.stdout.strip()

    measured = ("--", "src", "benchmarks", ":!benchmarks/results")
    try:
        changed = git("status", "--porcelain", *measured)
        return git("log", "-1", "--format=%h", *measured) + "+" * bool(changed)
    except (OSError, subprocess.SubprocessError):
        files = sorted(
            path for part in ("src", "benchmarks") for path in (root / part).rglob("*.py")
        )
        return "files " + sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:8]
