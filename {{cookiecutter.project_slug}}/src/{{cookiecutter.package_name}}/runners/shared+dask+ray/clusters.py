"""What is the same on all clusters: whether one is there, and how a task ends whose worker process died."""

import socket
from typing import Any
from urllib.parse import urlsplit

from prefect import State
from prefect.futures import PrefectFuture
from prefect.states import Crashed

from .settings import PREFIX, settings

TIMEOUT = 5.0
"""Seconds to wait for an answer."""


def look_for_cluster() -> None:
    """Connect to the cluster of the settings, if they name one: Prefect would wait half a minute for one that is away.

    Raises:
        ConnectionError: nothing answers there.
        ValueError: the address has no host or no port.
    """
    address = settings.cluster_address
    place = urlsplit(address if "//" in address else f"//{address}")
    if not address:
        return
    if not place.hostname or not place.port:
        raise ValueError(f"{PREFIX}CLUSTER_ADDRESS={address} names no host and port")
    try:
        socket.create_connection((place.hostname, place.port), TIMEOUT).close()
    except OSError as error:
        raise ConnectionError(f"no cluster answers at {PREFIX}CLUSTER_ADDRESS={address}: {error}") from None


def final_state(future: PrefectFuture[Any]) -> State[Any]:
    """Wait for a task, and return its final state.

    The cluster itself runs a task again whose worker process died. Where that happens three times more, Prefect would
    show the task as Running for ever, and the future raises the cluster's own error: here it has crashed.
    """
    try:
        future.result(raise_on_failure=False)
    except Exception as error:
        return Crashed(message=f"its worker process died: {error}")
    return future.state
