"""Small objects in the container of the result storage, for checkpoints and high-water marks.

The client retries failed requests. When it gives up, StoreError is raised with the client's error as its cause.
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
    """Load the storage block anew at the next call."""
    _place.cache_clear()


def write(name: str, content: bytes) -> None:
    """Write an object, and replace one with the same name.

    Args:
        name: relative to the folder `checkpoints`, like all names in this module.
        content: bytes of any length.

    Raises:
        StoreError: the object cannot be written.
    """
    with _reported("written", name) as (container, folder):
        container.upload_blob(f"{folder}{name}", content, overwrite=True)


def read(name: str) -> bytes | None:
    """Return the content of an object, or None if there is none.

    Raises:
        StoreError: the object cannot be read.
    """
    with _reported("read", name) as (container, folder):
        try:
            return container.download_blob(f"{folder}{name}").readall()
        except ResourceNotFoundError as error:
            if getattr(error, "error_code", None) == "ContainerNotFound":
                raise
            return None


def names(prefix: str) -> list[str]:
    """List the objects with a prefix: a job's folder and `/`, or an empty text for all.

    Returns:
        The names without the prefix.

    Raises:
        StoreError: the objects cannot be listed.
    """
    with _reported("listed", prefix) as (container, folder):
        start = f"{folder}{prefix}"
        return [name.removeprefix(start) for name in container.list_blob_names(name_starts_with=start)]


def delete(name: str) -> None:
    """Delete an object, if it exists.

    Raises:
        StoreError: the object cannot be deleted.
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


# Cached by process: a fork must not share its parent's connections.
@lru_cache(maxsize=1)
def _place(_process: int) -> tuple[ContainerClient, str]:
    block = storage()
    folder = f"{str(block.base_folder).rstrip('/')}/checkpoints/"
    # The block's own client is asynchronous, which a step cannot await inside an event loop.
    if connection := block.credentials.connection_string:
        return ContainerClient.from_connection_string(connection.get_secret_value(), block.container_name), folder
    url = str(block.credentials.account_url)
    return ContainerClient(url, block.container_name, credential=DefaultAzureCredential()), folder
