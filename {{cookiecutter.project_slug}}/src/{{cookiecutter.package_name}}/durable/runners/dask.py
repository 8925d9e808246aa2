"""Where mapped tasks run: processes of a Dask cluster, which starts with the flow run, or is there already."""

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
    """A runner for `settings.workers` processes with one task at a time each, or for the cluster of the settings."""
    if cluster_settings.cluster_address:
        return DaskTaskRunner(address=cluster_settings.cluster_address)
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


def look_for_cluster() -> None:
    """Ask the cluster of the settings, if they name one, what it is: a client of Dask waits for ever for an answer.

    Raises:
        ConnectionError: nothing answers there, or no scheduler of Dask.
        ValueError: the address cannot be used; see `clusters.connection`.
    """
    if there := connection("tcp", "tls"):
        there.close()
        try:
            # This thread may have a loop that runs.
            with ThreadPoolExecutor(1) as thread:
                kind = thread.submit(asyncio.run, _kind(cluster_settings.cluster_address)).result()
        except Exception as error:
            # Of any class, for what is read as an answer may be anything.
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
