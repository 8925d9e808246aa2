"""The block by which Prefect knows the store of results."""

from collections.abc import Callable
from typing import Any

import httpx
from prefect.blocks.core import Block
from prefect.settings import PREFECT_API_URL

from .probe import StoreError
from .settings import PREFIX


def load(kind: type[Block], slug: str) -> Any:
    """Load a saved block, once for many tasks: with its slug alone, Prefect 3.9 loads it again for each of them,
    which takes some 50 ms (`resolve_result_storage` in prefect/results.py).

    Args:
        kind: the block's class.
        slug: its type's name and its own.

    Returns:
        A block of that kind.

    Raises:
        StoreError: the server has no such block.
    """
    try:
        return kind.load(slug.split("/")[1])
    except ValueError as error:
        raise StoreError(
            f"the Prefect server at {PREFECT_API_URL.value()} has no block {slug}; save it with: make setup"
        ) from error


def save(block: Block, slug: str, place: Callable[[Any], object], replace: bool) -> None:
    """Save a block on the Prefect server.

    Args:
        block: what is to be saved.
        slug: by which it will be known.
        place: what a block leads to.
        replace: whether a block of that name may lead to another place until now.

    Raises:
        StoreError: it may not, and does: results of two environments would mix.
    """
    name = slug.split("/")[1]
    try:
        known: Any = type(block).load(name)
    except ValueError:
        known = None
    if known and not replace and place(known) != place(block):
        raise StoreError(
            f"the block {slug} on the Prefect server at {PREFECT_API_URL.value()} leads to {place(known)}, the settings"
            f" to {place(block)}: set {PREFIX}RESULTS_BLOCK to another name, or replace the block with: make setup"
        )
    # To save takes about a second, of which most makes schemas.
    if known is None or _fields(known) != _fields(block):
        block.save(name, overwrite=True)


def _fields(block: Block) -> dict[str, Any]:
    return {name: _fields(value) if isinstance(value, Block) else value for name, value in block}


def reach(url: str) -> None:
    """Ask a server for anything, so that one that is not there is known in seconds, not after a client's many tries.

    Raises:
        StoreError: nobody answers.
    """
    try:
        httpx.head(url, timeout=10)
    except httpx.HTTPError as error:
        raise StoreError(
            f"results cannot be kept: {url} cannot be reached; check the network and the settings"
        ) from error
