"""Task runner for Ray: processes of a cluster that the flow run starts, or of an existing one."""

import logging
import os
from typing import Any

from prefect_ray import RayTaskRunner

from .clusters import cluster_settings, connection, final_state
from .settings import PREFIX, settings

__all__ = ["final_state", "look_for_cluster", "task_runner"]

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Silences what Ray logs before `logging_level` takes effect.
logging.getLogger("ray").setLevel(logging.ERROR)

HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""The first bytes of a gRPC client, as Ray expects: the HTTP/2 preface and empty settings (RFC 9113, 3.4)."""


def task_runner() -> Any:
    """Return a runner for the configured cluster, or for `settings.workers` processes with one task at a time each."""
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if cluster_settings.cluster_address:
        return RayTaskRunner(address=cluster_settings.cluster_address, init_kwargs=options)
    options |= {"num_cpus": settings.workers, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    # Without "local", Ray would use any cluster that it finds on this machine.
    return RayTaskRunner("local", init_kwargs=options)


def look_for_cluster() -> None:
    """Check that a gRPC server responds at the configured address: Ray would try for half a minute.

    Raises:
        ConnectionError: nothing responds there, or not a gRPC server.
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
        # The type of the first frame must be settings.
        if answer[3:4] != b"\4":
            raise ConnectionError(
                f"what answers at {PREFIX}CLUSTER_ADDRESS={cluster_settings.cluster_address} is no Ray cluster"
            )
