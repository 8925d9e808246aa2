"""How a long job remembers what is done: a row a step, in the database that the step writes to.

The mark and the step's writes are one transaction. A crash at any moment leaves both or neither, and of two processes
at the same step one waits, then finds it done. Each step takes effect exactly once in this database; effects elsewhere
(mail, HTTP, files) are not part of that promise.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Dialect,
    Integer,
    String,
    Table,
    bindparam,
    delete,
    func,
    literal_column,
    select,
)
from sqlalchemy.exc import DBAPIError

from .names import JobStatus, checked, once
from .tables import UtcDateTime, internal
from .upserts import database, insert

__all__ = ["IN_STORE", "LOCAL", "OUTSIDE", "REMEMBERS", "Checkpoint", "status", "steps"]

LOCAL = ""
"""What of this module is on this machine alone: nothing, beside the database."""
REMEMBERS = True
"""Whether a new run finds what an earlier one has done."""
OUTSIDE = False
"""Whether checkpoints are outside of the database, so that they outlive it."""
IN_STORE = False
"""Whether they are in the store of results."""

steps = Table(
    "steps",
    internal,
    Column("job", String(200), primary_key=True),
    Column("step", String(200), primary_key=True),
    Column("done_at", UtcDateTime, nullable=False),
)
jobs = Table(
    "jobs",
    internal,
    Column("job", String(200), primary_key=True),
    Column("total", Integer, nullable=False),
)


@cache
def _claim(dialect: Dialect) -> tuple[str, Sequence[str] | None]:
    """The statement that marks a step if it is not marked, and the order of its parameters where they have no names."""
    # As text, for Prefect's server, where it is loaded, has `func.now()` take parameters in SQLite.
    now: Any = literal_column("CURRENT_TIMESTAMP")
    mark = insert(steps).values(job=bindparam("job"), step=bindparam("step"), done_at=now)
    compiled: Any = mark.on_conflict_do_nothing().returning(steps.c.step).compile(dialect=dialect)
    return str(compiled), compiled.positiontup


@dataclass(frozen=True)
class Checkpoint:
    """What is done of one job. Jobs with different names do not see each other's steps."""

    job: str

    def __post_init__(self) -> None:
        checked(self.job, "job")

    def remaining(self, keys: Iterable[str]) -> list[str]:
        """Return the keys of those steps that are not done, in their order, and note the job's total for `status`.

        A key that stands there twice is one step.
        """
        keys = once(keys)
        done = self.done()
        remaining = [key for key in keys if key not in done]
        total = len(done) + len(remaining)
        with database().begin() as connection:
            note = insert(jobs).values(job=self.job, total=total)
            connection.execute(note.on_conflict_do_update(index_elements=["job"], set_={"total": note.excluded.total}))
        return remaining

    @contextmanager
    def step(self, key: str) -> Iterator[Connection | None]:
        """Do a step and mark it as done, both or neither.

        Yields a connection in a transaction, to write with; it commits, with the mark, when the block ends, and rolls
        back when the block raises. Yields None where the step is done already, by another process that was waited for
        perhaps: then leave it.

        Compute first and open the step for the writes alone: other writers wait until it ends. So would another
        transaction of the same thread: use no other method of a checkpoint inside.
        """
        ended = False
        try:
            with database().begin() as connection:
                yield connection if self._claim(connection, checked(key, "step")) else None
                ended = True
        except DBAPIError as error:
            # A connection that is lost at COMMIT leaves it open whether that was done; the mark tells.
            if not (ended and error.connection_invalidated and self._is_done(key)):
                raise

    def _claim(self, connection: Connection, key: str) -> bool:
        """Mark a step, unless it is marked; wait for another process that is at it."""
        sql, order = _claim(connection.dialect)
        mark = {"job": self.job, "step": key}
        # Run on the driver: SQLAlchemy has written the SQL, but its `execute` would be most of the cost of a step.
        claimed = connection.exec_driver_sql(sql, tuple(mark[name] for name in order) if order else mark)
        return claimed.first() is not None

    def _is_done(self, key: str) -> bool:
        # By a claim, which waits for a COMMIT that the server is still at.
        with database().connect() as connection:
            return not self._claim(connection, key)

    def done(self) -> set[str]:
        """Return the keys of all steps of the job that are done."""
        with database().connect() as connection:
            return set(connection.scalars(select(steps.c.step).where(steps.c.job == self.job)))

    def reset(self) -> bool:
        """Forget the job, so that it is done again from the start. What its steps have written stays.

        Returns:
            Whether anything was known of it.
        """
        with database().begin() as connection:
            known = False
            for table in (steps, jobs):
                known |= connection.scalars(select(table.c.job).where(table.c.job == self.job).limit(1)).all() != []
                connection.execute(delete(table).where(table.c.job == self.job))
        return known


def status() -> list[JobStatus]:
    """Return how far each job is, by name."""
    count = select(func.count()).where(steps.c.job == jobs.c.job).scalar_subquery()
    with database().connect() as connection:
        rows = connection.execute(select(jobs.c.job, count, jobs.c.total).order_by(jobs.c.job))
        return [JobStatus(*row) for row in rows]
