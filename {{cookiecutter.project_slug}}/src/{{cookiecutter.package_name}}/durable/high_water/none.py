"""The high-water marks of sources: none. Every run loads all of a source."""

from collections.abc import Callable

from prefect.runtime import flow_run

from .names import Mark, next_load
from .upserts import Connection

__all__ = ["WITH_ROWS", "change", "forget", "read", "status"]

WITH_ROWS = False
"""Whether a mark moves in the transaction of the rows that it stands for."""


def read(source: str) -> Mark:
    """Return a mark without a value. The load is the flow run: one that is resumed or retried goes on with it."""
    return Mark(load=flow_run.id) if flow_run.id else next_load(None)


def change(source: str, decide: Callable[[Mark], Mark | None], connection: Connection | None = None) -> None:
    """Change the mark of a source: it has none."""


def forget(source: str) -> bool:
    """Remove the mark of a source. Return whether it had one: no."""
    return False


def status() -> list[tuple[str, str]]:
    """Return the sources that have been loaded: none is remembered."""
    return []
