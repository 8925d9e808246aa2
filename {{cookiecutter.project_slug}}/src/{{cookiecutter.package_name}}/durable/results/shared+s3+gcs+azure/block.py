"""The Prefect block of the result storage."""

from collections.abc import Callable
from typing import Any

import httpx
from prefect.blocks.core import Block
from prefect.settings import PREFECT_API_URL

from .probe import StoreError
from .settings import PREFIX


def load(kind: type[Block], slug: str) -> Any:
    """Load a saved block once for many tasks.

    Given only its slug, Prefect 3.9 loads it again for each task, which takes some 50 ms (`resolve_result_storage` in
    prefect/results.py).

    Args:
        kind: the block's class.
        slug: the names of the block's type and of the block, `type/name`.

    Returns:
        A block of that class.

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
        block: the block to save.
        slug: the names of the block's type and of the block, `type/name`.
        place: returns the place that a block leads to.
        replace: whether to replace a block of the same name that leads to another place.

    Raises:
        StoreError: such a block exists, and `replace` is false: results of two environments would mix.
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
    # Saving takes about a second, mostly for schemas.
    if known is None or _fields(known) != _fields(block):
        block.save(name, overwrite=True)


def _fields(block: Block) -> dict[str, Any]:
    return {name: _fields(value) if isinstance(value, Block) else value for name, value in block}


def reach(url: str) -> None:
    """Check that a server responds, within seconds instead of a client's many attempts.

    Raises:
        StoreError: the server does not respond.
    """
    try:
        httpx.head(url, timeout=10)
    except httpx.HTTPError as error:
        raise StoreError(
            f"results cannot be kept: {url} cannot be reached; check the network and the settings"
        ) from error
