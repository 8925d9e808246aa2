"""Small objects beside the results, in the container of their block.

A failed request is tried again by the client itself. What it gives up is a StoreError, which names the client's own
error as its cause.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.identity import DefaultAzureCredential
from azure.storage.blob import ContainerClient

from .probe import StoreError
from .results import storage


def refresh() -> None:
    """Take the way to the store anew: load the block."""
    _place.cache_clear()


def write(name: str, content: bytes) -> None:
    """Put an object there, in place of one of that name.

    Args:
        name: as all names here, relative to the folder of all marks.
        content: of any length.

    Raises:
        StoreError: it cannot be kept.
    """
    with _reported("written", name) as (container, folder):
        container.upload_blob(f"{folder}{name}", content, overwrite=True)


def read(name: str) -> bytes | None:
    """Return an object, or None where there is none.

    Raises:
        StoreError: it cannot be read.
    """
    with _reported("read", name) as (container, folder):
        try:
            return container.download_blob(f"{folder}{name}").readall()
        except ResourceNotFoundError as error:
            if getattr(error, "error_code", None) == "ContainerNotFound":
                raise
            return None


def names(prefix: str) -> list[str]:
    """Return the names of all objects that begin with a prefix: a job's folder and `/`, or nothing.

    Returns:
        The names without the prefix.

    Raises:
        StoreError: they cannot be listed.
    """
    with _reported("listed", prefix) as (container, folder):
        start = f"{folder}{prefix}"
        return [name.removeprefix(start) for name in container.list_blob_names(name_starts_with=start)]


def delete(name: str) -> None:
    """Remove an object, if it is there.

    Raises:
        StoreError: it cannot be removed.
    """
    with _reported("removed", name) as (container, folder):
        try:
            container.delete_blob(f"{folder}{name}")
        except ResourceNotFoundError:
            return


@contextmanager
def _reported(done: str, name: str) -> Iterator[tuple[ContainerClient, str]]:
    try:
        yield _place(os.getpid())
    except AzureError as error:
        reason = str(error).partition("\n")[0]
        raise StoreError(f"marks cannot be {done}, at {name or 'all'}: {reason}") from error


# For one process: a fork must not share its parent's connections.
@lru_cache(maxsize=1)
def _place(_process: int) -> tuple[ContainerClient, str]:
    block = storage()
    folder = f"{str(block.base_folder).rstrip('/')}/checkpoints/"
    # The block's own client is an asynchronous one, which a step cannot wait for in an event loop.
    if connection := block.credentials.connection_string:
        return ContainerClient.from_connection_string(connection.get_secret_value(), block.container_name), folder
    url = str(block.credentials.account_url)
    return ContainerClient(url, block.container_name, credential=DefaultAzureCredential()), folder
