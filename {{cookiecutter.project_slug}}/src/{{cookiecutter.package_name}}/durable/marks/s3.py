"""Small objects beside the results, in the bucket of their block.

A failed request is tried again by the client itself. What it gives up is a StoreError, which names the client's own
error as its cause.
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
    with _reported("written", name) as (client, bucket, folder):
        client.put_object(Bucket=bucket, Key=f"{folder}{name}", Body=content)


def read(name: str) -> bytes | None:
    """Return an object, or None where there is none.

    Raises:
        StoreError: it cannot be read.
    """
    with _reported("read", name) as (client, bucket, folder):
        try:
            content: bytes = client.get_object(Bucket=bucket, Key=f"{folder}{name}")["Body"].read()
        except client.exceptions.NoSuchKey:
            return None
        return content


def names(prefix: str) -> list[str]:
    """Return the names of all objects that begin with a prefix: a job's folder and `/`, or nothing.

    Returns:
        The names without the prefix.

    Raises:
        StoreError: they cannot be listed.
    """
    with _reported("listed", prefix) as (client, bucket, folder):
        start = f"{folder}{prefix}"
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=start)
        return [item["Key"].removeprefix(start) for page in pages for item in page.get("Contents", ())]


def delete(name: str) -> None:
    """Remove an object, if it is there.

    Raises:
        StoreError: it cannot be removed.
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


# For one process: a fork must not share its parent's connections.
@lru_cache(maxsize=1)
def _place(_process: int) -> tuple[Any, str, str]:
    block = storage()
    return block.credentials.get_client("s3"), block.bucket_name, f"{block.bucket_folder.rstrip('/')}/checkpoints/"
