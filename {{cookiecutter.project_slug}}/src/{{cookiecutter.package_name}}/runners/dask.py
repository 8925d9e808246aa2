"""Where mapped tasks run: processes of a Dask cluster, which starts with the flow run, or is there already."""

from typing import Any

from prefect_dask.task_runners import DaskTaskRunner

from .clusters import final_state, look_for_cluster
from .settings import settings

__all__ = ["final_state", "look_for_cluster", "task_runner"]


def task_runner() -> Any:
    """A runner for `settings.workers` processes with one task at a time each, or for the cluster of the settings."""
    if settings.cluster_address:
        return DaskTaskRunner(address=settings.cluster_address)
    return DaskTaskRunner(
        cluster_kwargs={
            "n_workers": settings.workers,
            "threads_per_worker": 1,
            "host": "127.0.0.1",
            "dashboard_address": None,
            # Its port is 8787 otherwise, which another run may have.
            "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"},
        }
    )
