"""Clusters: the connection check, and the final state of a task whose worker process died."""

import re
import socket
from typing import Any
from urllib.parse import urlsplit

from prefect import State
from prefect.futures import PrefectFuture
from prefect.settings import PREFECT_API_URL
from prefect.states import Crashed

from . import checkpoints, results, upserts
from .settings import PREFIX, ProjectSettings


class ClusterSettings(ProjectSettings):
    """The cluster that runs the tasks."""

    cluster_address: str = ""
    """An existing cluster: `tcp://HOST:8786` for Dask, `ray://HOST:10001` for Ray; empty: a run starts its own."""


cluster_settings = ClusterSettings()

TIMEOUT = 5.0
"""Seconds to wait for a response."""
HERE = re.compile(r"(?i)//([^/]*@)?((127\.[\d.]+|localhost|\[::1\])(?=[:/?;]|$)|/|$)")
"""Matches URLs that lead nowhere from another machine: a loopback address, or a socket file."""


def connection(*schemes: str) -> socket.socket | None:
    """Connect to the configured cluster: Prefect would wait half a minute for an unavailable one.

    Args:
        schemes: the schemes that the address may have; it may also have none.

    Returns:
        The connection, with `TIMEOUT` for responses; None if no cluster is configured.

    Raises:
        ConnectionError: nothing responds there.
        ValueError: the address lacks a host or a port, or has another scheme; or it is on another machine, which cannot
            reach this project's server, database or result storage.
    """
    address = cluster_settings.cluster_address
    if not address:
        return None
    url = address if "//" in address else f"//{address}"
    try:
        host, port = urlsplit(url).hostname, urlsplit(url).port
    except ValueError:
        host = port = None
    if not host or not port:
        raise ValueError(f"{PREFIX}CLUSTER_ADDRESS={address} names no host and port")
    if urlsplit(url).scheme not in ("", *schemes):
        raise ValueError(f"{PREFIX}CLUSTER_ADDRESS={address} does not begin with {' or '.join(schemes)}")
    if not HERE.search(url):
        _refuse_what_is_here(address)
    try:
        return socket.create_connection((host, port), TIMEOUT)
    except OSError as error:
        raise ConnectionError(f"no cluster answers at {PREFIX}CLUSTER_ADDRESS={address}: {error}") from None


def _refuse_what_is_here(address: str) -> None:
    if local := [part.LOCAL for part in (results, upserts, checkpoints) if part.LOCAL]:
        raise ValueError(
            f"the workers of {address} may be on other machines, but files of this one hold the {' and '.join(local)};"
            f" leave {PREFIX}CLUSTER_ADDRESS empty, or give a cluster of this machine, at 127.0.0.1"
        )
    places = {"PREFECT_API_URL": PREFECT_API_URL.value() or "//localhost"}
    places |= results.endpoints() | upserts.endpoints()
    if here := [name for name, value in places.items() if HERE.search(value)]:
        raise ValueError(
            f"the workers of {address} may be on other machines, and {', '.join(here)} lead to this one or are not set:"
            " set what they reach too, or give a cluster of this machine, at 127.0.0.1"
        )


def final_state(future: PrefectFuture[Any]) -> State[Any]:
    """Wait for a task, and return its final state.

    A cluster runs a task again if its worker process dies. After three more deaths the future raises the cluster's
    error, and Prefect would show the task as Running forever: return Crashed instead.
    """
    try:
        future.result(raise_on_failure=False)
    except Exception as error:
        return Crashed(message=f"the cluster could not do it: {error}")
    return future.state
