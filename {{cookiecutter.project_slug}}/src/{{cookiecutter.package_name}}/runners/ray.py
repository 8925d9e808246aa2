"""Where mapped tasks run: processes of a Ray cluster, which starts with the flow run, or is there already."""

import logging
import os
from typing import Any

from prefect_ray import RayTaskRunner

from .clusters import final_state, look_for_cluster
from .settings import settings

__all__ = ["final_state", "look_for_cluster", "task_runner"]

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# What it says of itself before `logging_level` counts.
logging.getLogger("ray").setLevel(logging.ERROR)


def task_runner() -> Any:
    """A runner for `settings.workers` processes with one task at a time each, or for the cluster of the settings."""
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if settings.cluster_address:
        return RayTaskRunner(address=settings.cluster_address, init_kwargs=options)
    options |= {"num_cpus": settings.workers, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    # Without "local", Ray would take any cluster that it finds on this machine.
    return RayTaskRunner("local", init_kwargs=options)
