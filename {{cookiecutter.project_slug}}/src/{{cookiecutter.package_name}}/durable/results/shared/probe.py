"""The test of the result storage, made before anything relies on it."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4


class StoreError(Exception):
    """Results cannot be stored. The message says where, why, and what to do."""


def probe(storage: Any, delete: Callable[[str], object]) -> None:
    """Write an object, read it back and delete it.

    Args:
        storage: the Prefect block of the storage; `Any`, because the types of a block's methods are asynchronous.
        delete: deletes an object by its name, because a block cannot.

    Raises:
        StoreError: the content that was read differs from what was written.
        Exception: the storage's client fails.
    """
    name = f"probe-{uuid4().hex}"
    storage.write_path(name, name.encode())
    try:
        if storage.read_path(name) != name.encode():
            raise StoreError("results cannot be kept: the store does not give back what was written to it")
    finally:
        delete(name)
