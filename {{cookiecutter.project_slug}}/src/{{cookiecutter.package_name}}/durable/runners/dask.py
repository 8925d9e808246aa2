"""Task runner for Dask: processes of a cluster that the flow run starts, or of an existing one."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from distributed import rpc
from distributed.security import Security
from prefect_dask.task_runners import DaskTaskRunner

from .clusters import TIMEOUT, cluster_settings, connection, final_state
from .settings import PREFIX, settings

__all__ = ["final_state", "look_for_cluster", "task_runner"]


def task_runner() -> Any:
    """Return a runner for the configured cluster, or for `settings.workers` processes with one task at a time each."""
    if cluster_settings.cluster_address:
        return DaskTaskRunner(address=cluster_settings.cluster_address)
    return DaskTaskRunner(
        cluster_kwargs={
            "n_workers": settings.workers,
            "threads_per_worker": 1,
            "host": "127.0.0.1",
            "dashboard_address": None,
            # The default port is 8787, which another run may use.
            "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"},
        }
    )


def look_for_cluster() -> None:
    """Check that a Dask scheduler responds at the configured address: a Dask client would wait forever.

    Raises:
        ConnectionError: nothing responds there, or not a Dask scheduler.
        ValueError: the address cannot be used; see `clusters.connection`.
    """
    if there := connection("tcp", "tls"):
        there.close()
        try:
            # This thread may already have a running event loop.
            with ThreadPoolExecutor(1) as thread:
                kind = thread.submit(asyncio.run, _kind(cluster_settings.cluster_address)).result()
        except Exception as error:
            # Any exception: the bytes of another service may fail to decode in any way.
            kind = repr(error)
        if kind != "Scheduler":
            raise ConnectionError(
                f"what answers at {PREFIX}CLUSTER_ADDRESS={cluster_settings.cluster_address} is no Dask scheduler:"
                f" {kind}"
            )


async def _kind(address: str) -> str:
    options = Security().get_connection_args("client")  # type: ignore[no-untyped-call]
    async with rpc(address, connection_args=options) as there:  # type: ignore[no-untyped-call]
        return str((await asyncio.wait_for(there.identity(), TIMEOUT))["type"])
