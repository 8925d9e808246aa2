"""No claims: without a database, a claim cannot be part of a step's transaction."""

from collections.abc import Iterable

from .upserts import Connection

JOBS = ()
"""The columns of the database that hold full names of jobs: none."""


def claim(connection: Connection, job: str, items: Iterable[str]) -> list[str]:
    """Reject a claim: the project has no database.

    Raises:
        RuntimeError: always; the message says what to do.
    """
    raise RuntimeError("step.claim needs a database; without one, give each item a task of its own: at least once")
