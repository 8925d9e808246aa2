"""No high-water marks: every run loads all of a source."""

from collections.abc import Callable

from prefect.runtime import flow_run

from .names import Mark, next_load
from .upserts import Connection

__all__ = ["JOBS", "WITH_ROWS", "change", "forget", "read", "status"]

JOBS = ()
"""The columns of the database that hold full names of jobs: none."""
WITH_ROWS = False
"""Whether a mark moves in the transaction of its rows."""


def read(source: str) -> Mark:
    """Return a mark without a value. Its load is the flow run, so that a resumed or retried run continues it."""
    return Mark(load=flow_run.id) if flow_run.id else next_load(None)


def change(source: str, decide: Callable[[Mark], Mark | None], connection: Connection | None = None) -> None:
    """Do nothing: no source has a mark."""


def forget(source: str) -> bool:
    """Do nothing; return False, as the source has no mark."""
    return False


def status() -> list[tuple[str, str]]:
    """Return no sources, as no mark is stored."""
    return []
