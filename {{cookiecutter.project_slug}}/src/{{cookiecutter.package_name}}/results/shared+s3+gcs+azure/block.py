"""The block by which Prefect knows the store of results."""

from typing import Any, TypeVar

from prefect.blocks.core import Block
from prefect.settings import PREFECT_API_URL

from .probe import StoreError

B = TypeVar("B", bound=Block)


def load(kind: type[B], slug: str) -> B:
    """Load a saved block, once for many tasks: with its slug alone, Prefect loads it again for each of them, which
    takes some 50 ms (`resolve_result_storage` in prefect/results.py).

    Raises:
        StoreError: the server has no such block.
    """
    try:
        block: Any = kind.load(slug.split("/")[1])
    except ValueError as error:
        raise StoreError(
            f"the Prefect server at {PREFECT_API_URL.value()} has no block {slug}; save it with: make setup"
        ) from error
    loaded: B = block
    return loaded
