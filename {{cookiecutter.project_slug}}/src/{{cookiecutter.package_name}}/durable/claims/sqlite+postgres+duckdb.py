"""Claims of items: one row per item, inserted in the transaction of the step that handles it.

An item is handled exactly once in this database, whatever chunk it comes in: after a crash, a correction of the source
or a second process. Checkpoints only know chunks, and a corrected chunk is a new one.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import Column, Connection, String, Table

from .names import once
from .tables import UtcDateTime, internal
from .upserts import insert

claims = Table(
    "claimed_items",
    internal,
    Column("job", String(200), primary_key=True),
    Column("item", String(200), primary_key=True),
    Column("claimed_at", UtcDateTime, nullable=False),
)

JOBS = (claims.c.job,)
"""The columns of the database that hold full names of jobs."""


def claim(connection: Connection, job: str, items: Iterable[str]) -> list[str]:
    """Claim items of a job, and return those that had no claim, in order and without duplicates. The caller commits.

    Waits for a transaction that claims one of them at the same time.

    Raises:
        ValueError: an item is not text of 1 to 200 characters, or cannot be stored unchanged.
    """
    names = once(items, "item")
    now = datetime.now(UTC)
    # In one order everywhere: otherwise two transactions could wait for each other.
    rows = [{"job": job, "item": name, "claimed_at": now} for name in sorted(names)]
    new = insert(claims).on_conflict_do_nothing().returning(claims.c.item)
    claimed = set(connection.scalars(new, rows)) if rows else set()
    return [name for name in names if name in claimed]
