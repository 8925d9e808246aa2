"""Small objects in the bucket of the result storage, for checkpoints and high-water marks.

The client retries failed requests. When it gives up, StoreError is raised with the client's error as its cause.
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
    with _reported("written", name) as (bucket, folder):
        # By default the client retries no write, as it cannot know that this one is idempotent.
        bucket.blob(f"{folder}{name}").upload_from_string(content, retry=DEFAULT_RETRY)


def read(name: str) -> bytes | None:
    """Return the content of an object, or None if there is none.

    Raises:
        StoreError: the object cannot be read.
    """
    with _reported("read", name) as (bucket, folder):
        try:
            content: bytes = bucket.blob(f"{folder}{name}").download_as_bytes()
        except NotFound:
            return None
        return content


def names(prefix: str) -> list[str]:
    """List the objects with a prefix: a job's folder and `/`, or an empty text for all.

    Returns:
        The names without the prefix.

    Raises:
        StoreError: the objects cannot be listed.
    """
    with _reported("listed", prefix) as (bucket, folder):
        start = f"{folder}{prefix}"
        return [blob.name.removeprefix(start) for blob in bucket.client.list_blobs(bucket, prefix=start)]


def delete(name: str) -> None:
    """Delete an object, if it exists.

    Raises:
        StoreError: the object cannot be deleted.
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


# Cached by process: a fork must not share its parent's connections.
@lru_cache(maxsize=1)
def _place(_process: int) -> tuple[Any, str]:
    block = storage()
    return block.get_bucket(), f"{block.bucket_folder.rstrip('/')}/checkpoints/"
