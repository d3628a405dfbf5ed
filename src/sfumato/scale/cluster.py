"""Ray: connecting to a cluster, and painting a table by its workers with Ray Data.

Each worker is a process with a device of its own. Ray Data starts another where one has died, and
gives it the part of the table that the dead one had.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Iterator, Sequence
from typing import Any

from sfumato.scale.batch import Batch
from sfumato.scale.painting import Bad, Made
from sfumato.scale.tables import Row

EXTRA = "Ray needs more packages: pip install 'sfumato[ray]'"
LOCAL = "local"
PASSED_ON = ("KERAS_BACKEND", "HF_HUB_OFFLINE", "JAX_", "XLA_")
"""Variables of the environment that workers get: they decide on what is painted."""


def connect(address: str, workers: int | None = None) -> int:
    """Connect to a cluster, or start one of this machine ("local"); returns the workers to use.

    Nothing is reported to Ray's makers, unless RAY_USAGE_STATS_ENABLED says so.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ConnectionError: nothing is at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Otherwise Ray Serve's thread, which outlives a cluster, starts another one on this machine.
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
    try:
        import ray
    except ImportError as error:
        raise ModuleNotFoundError(EXTRA) from error
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)  # that there is one
    if not ray.is_initialized():
        variables = {n: value for n, value in os.environ.items() if n.startswith(PASSED_ON)}
        options: dict[str, Any] = {
            "runtime_env": {"env_vars": variables},
            "log_to_driver": False,
            "logging_level": logging.WARNING,
        }
        if address == LOCAL:
            cpus = max(workers or 1, os.cpu_count() or 1)
            options |= {"num_cpus": cpus, "include_dashboard": False}
        ray.init(address, **options)
    return workers or int(ray.cluster_resources().get("GPU", 0)) or 1


def device() -> dict[str, Any]:
    """What a worker needs of its machine: a GPU where the cluster has some."""
    import ray

    has_gpus = ray.cluster_resources().get("GPU", 0) >= 1
    return {"num_gpus": 1} if has_gpus else {"num_cpus": 1}


class Worker:
    """Paints the parts of a table that Ray Data gives it."""

    def __init__(self, batch: Batch) -> None:
        self.painter = batch.painter()

    def __call__(self, given: dict[str, Any]) -> dict[str, list[bytes]]:
        rows = [row for part in given["rows"] for row in pickle.loads(part)]
        return {"outcomes": [pickle.dumps(outcome) for outcome in self.painter.paint(rows)]}


def paint(batch: Batch, workers: int, parts: Sequence[Sequence[Row]]) -> Iterator[Made | Bad]:
    """Paint parts of a table by so many workers; yields outcomes in the order of their making."""
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    if not parts:
        return
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it tells of every setting
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.enable_operator_progress_bars = False
    items = [{"rows": pickle.dumps(part)} for part in parts]
    pool = ActorPoolStrategy(size=min(workers, len(parts)), max_tasks_in_flight_per_actor=2)
    painted = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        Worker,
        batch_size=1,
        compute=pool,
        fn_constructor_args=[batch],
        **device(),
    )
    for row in painted.iter_rows():
        yield pickle.loads(row["outcomes"])
