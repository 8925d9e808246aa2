"""Where mapped tasks run: processes of a Ray cluster, which starts with the flow run, or is there already."""

import logging
import os
from typing import Any

from prefect_ray import RayTaskRunner

from .clusters import cluster_settings, connection, final_state
from .settings import PREFIX, settings

__all__ = ["final_state", "look_for_cluster", "task_runner"]

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# What it says of itself before `logging_level` counts.
logging.getLogger("ray").setLevel(logging.ERROR)

HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""What a client of gRPC, which Ray speaks, sends first: HTTP/2's preface and no settings (RFC 9113, 3.4)."""


def task_runner() -> Any:
    """A runner for `settings.workers` processes with one task at a time each, or for the cluster of the settings."""
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if cluster_settings.cluster_address:
        return RayTaskRunner(address=cluster_settings.cluster_address, init_kwargs=options)
    options |= {"num_cpus": settings.workers, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    # Without "local", Ray would take any cluster that it finds on this machine.
    return RayTaskRunner("local", init_kwargs=options)


def look_for_cluster() -> None:
    """Ask the cluster of the settings, if they name one, whether it speaks gRPC: Ray would ask for half a minute.

    Raises:
        ConnectionError: nothing answers there, or no server of gRPC.
        ValueError: the address cannot be used; see `clusters.connection`.
    """
    if there := connection("ray"):
        with there:
            if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
                return
            try:
                there.sendall(HELLO)
                answer = there.recv(len(HELLO))
            except OSError:
                answer = b""
        # The type of the first frame: settings.
        if answer[3:4] != b"\4":
            raise ConnectionError(
                f"what answers at {PREFIX}CLUSTER_ADDRESS={cluster_settings.cluster_address} is no Ray cluster"
            )
