"""Whether results can be kept in a store: proven before anything relies on it."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4


class StoreError(Exception):
    """Results cannot be kept. The message says where, why, and what to do."""


def probe(storage: Any, delete: Callable[[str], object]) -> None:
    """Write an object, read it again and delete it.

    Args:
        storage: Prefect's block of the store; `Any`, for the methods of blocks are typed as asynchronous ones.
        delete: deletes an object by its name, for a block cannot.

    Raises:
        StoreError: what is read is not what was written.
        Exception: whatever the store's client raises.
    """
    name = f"probe-{uuid4().hex}"
    storage.write_path(name, name.encode())
    try:
        if storage.read_path(name) != name.encode():
            raise StoreError("results cannot be kept: the store does not give back what was written to it")
    finally:
        delete(name)
