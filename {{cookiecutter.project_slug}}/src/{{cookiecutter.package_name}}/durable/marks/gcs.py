"""Small objects beside the results, in the bucket of their block.

A failed request is tried again by the client itself. What it gives up is a StoreError, which names the client's own
error as its cause.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from google.api_core.exceptions import GoogleAPIError, NotFound
from google.auth.exceptions import GoogleAuthError
from google.cloud.storage.retry import DEFAULT_RETRY
from requests.exceptions import RequestException

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
    with _reported("written", name) as (bucket, folder):
        # The client does not repeat a write by itself: it cannot know that this one may be.
        bucket.blob(f"{folder}{name}").upload_from_string(content, retry=DEFAULT_RETRY)


def read(name: str) -> bytes | None:
    """Return an object, or None where there is none.

    Raises:
        StoreError: it cannot be read.
    """
    with _reported("read", name) as (bucket, folder):
        try:
            content: bytes = bucket.blob(f"{folder}{name}").download_as_bytes()
        except NotFound:
            return None
        return content


def names(prefix: str) -> list[str]:
    """Return the names of all objects that begin with a prefix: a job's folder and `/`, or nothing.

    Returns:
        The names without the prefix.

    Raises:
        StoreError: they cannot be listed.
    """
    with _reported("listed", prefix) as (bucket, folder):
        start = f"{folder}{prefix}"
        return [blob.name.removeprefix(start) for blob in bucket.client.list_blobs(bucket, prefix=start)]


def delete(name: str) -> None:
    """Remove an object, if it is there.

    Raises:
        StoreError: it cannot be removed.
    """
    with _reported("removed", name) as (bucket, folder):
        try:
            bucket.blob(f"{folder}{name}").delete(retry=DEFAULT_RETRY)
        except NotFound:
            return


@contextmanager
def _reported(done: str, name: str) -> Iterator[tuple[Any, str]]:
    try:
        yield _place(os.getpid())
    except (GoogleAPIError, GoogleAuthError, RequestException) as error:
        reason = str(error).partition("\n")[0]
        raise StoreError(f"marks cannot be {done}, at {name or 'all'}: {reason}") from error


# For one process: a fork must not share its parent's connections.
@lru_cache(maxsize=1)
def _place(_process: int) -> tuple[Any, str]:
    block = storage()
    return block.get_bucket(), f"{block.bucket_folder.rstrip('/')}/checkpoints/"
