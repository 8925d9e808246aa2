"""Small objects in the bucket of the result storage, for checkpoints and high-water marks.

The client retries failed requests. When it gives up, StoreError is raised with the client's error as its cause.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

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
    with _reported("written", name) as (client, bucket, folder):
        client.put_object(Bucket=bucket, Key=f"{folder}{name}", Body=content)


def read(name: str) -> bytes | None:
    """Return the content of an object, or None if there is none.

    Raises:
        StoreError: the object cannot be read.
    """
    with _reported("read", name) as (client, bucket, folder):
        try:
            content: bytes = client.get_object(Bucket=bucket, Key=f"{folder}{name}")["Body"].read()
        except client.exceptions.NoSuchKey:
            return None
        return content


def names(prefix: str) -> list[str]:
    """List the objects with a prefix: a job's folder and `/`, or an empty text for all.

    Returns:
        The names without the prefix.

    Raises:
        StoreError: the objects cannot be listed.
    """
    with _reported("listed", prefix) as (client, bucket, folder):
        start = f"{folder}{prefix}"
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=start)
        return [item["Key"].removeprefix(start) for page in pages for item in page.get("Contents", ())]


def delete(name: str) -> None:
    """Delete an object, if it exists.

    Raises:
        StoreError: the object cannot be deleted.
    """
    with _reported("removed", name) as (client, bucket, folder):
        client.delete_object(Bucket=bucket, Key=f"{folder}{name}")


@contextmanager
def _reported(done: str, name: str) -> Iterator[tuple[Any, str, str]]:
    client, bucket, folder = _place(os.getpid())
    try:
        yield client, bucket, folder
    except (BotoCoreError, Boto3Error, ClientError) as error:
        raise StoreError(f"marks cannot be {done} at s3://{bucket}/{folder}{name}: {error}") from error


# Cached by process: a fork must not share its parent's connections.
@lru_cache(maxsize=1)
def _place(_process: int) -> tuple[Any, str, str]:
    block = storage()
    return block.credentials.get_client("s3"), block.bucket_name, f"{block.bucket_folder.rstrip('/')}/checkpoints/"
