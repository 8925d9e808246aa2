"""Checkpoints in the database that the steps write to: one row per step.

The checkpoint and the step's writes are one transaction: a crash at any point leaves both or neither. If two processes
reach the same step, one waits and then skips it. Each step takes effect exactly once in this database; effects
elsewhere (mail, HTTP, files) are not part of that promise.
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

__all__ = ["IN_STORE", "JOBS", "LOCAL", "OUTSIDE", "REMEMBERS", "Checkpoint", "status", "steps"]

LOCAL = ""
"""The data of this module that exists on this machine only: none, apart from the database."""
REMEMBERS = True
"""Whether a new run skips the steps that earlier runs have done."""
OUTSIDE = False
"""Whether checkpoints are outside the database, and so may outlive it."""
IN_STORE = False
"""Whether checkpoints are in the result storage."""

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

JOBS = (steps.c.job, jobs.c.job)
"""The columns of the database that hold full names of jobs."""


@cache
def _claim(dialect: Dialect) -> tuple[str, Sequence[str] | None]:
    """Compile the insert of a checkpoint that may exist; also return the order of its positional parameters."""
    # As literal text: once Prefect's server is loaded, `func.now()` takes parameters in SQLite.
    now: Any = literal_column("CURRENT_TIMESTAMP")
    mark = insert(steps).values(job=bindparam("job"), step=bindparam("step"), done_at=now)
    compiled: Any = mark.on_conflict_do_nothing().returning(steps.c.step).compile(dialect=dialect)
    return str(compiled), compiled.positiontup


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint of one job. Jobs with different names do not share steps."""

    job: str

    def __post_init__(self) -> None:
        checked(self.job, "job")

    def remaining(self, keys: Iterable[str]) -> list[str]:
        """Return the keys of the steps that are not done, in order, and store the job's total for `status`.

        Duplicate keys are one step.
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
        """Run a step and write its checkpoint, both or neither.

        Yields a connection in a transaction. The transaction commits, with the checkpoint, when the block ends, and
        rolls back if the block raises. Yields None if the step is done, perhaps by another process that this one waited
        for: then skip it.

        Compute first and open the step only for the writes: other writers wait until it ends. Another transaction of
        the same thread would wait too, so use no other method of a checkpoint inside.
        """
        ended = False
        try:
            with database().begin() as connection:
                yield connection if self._claim(connection, checked(key, "step")) else None
                ended = True
        except DBAPIError as error:
            # If the connection is lost during COMMIT, only the checkpoint tells whether the transaction committed.
            if not (ended and error.connection_invalidated and self._is_done(key)):
                raise

    def _claim(self, connection: Connection, key: str) -> bool:
        """Insert the checkpoint of a step; return False if it is there. Waits for a process that does the step."""
        sql, order = _claim(connection.dialect)
        mark = {"job": self.job, "step": key}
        # Run by the driver: SQLAlchemy's `execute` would be most of the cost of a step.
        claimed = connection.exec_driver_sql(sql, tuple(mark[name] for name in order) if order else mark)
        return claimed.first() is not None

    def _is_done(self, key: str) -> bool:
        # A claim also waits for a COMMIT that the server has not finished.
        with database().connect() as connection:
            return not self._claim(connection, key)

    def done(self) -> set[str]:
        """Return the keys of all steps of the job that are done."""
        with database().connect() as connection:
            return set(connection.scalars(select(steps.c.step).where(steps.c.job == self.job)))

    def reset(self) -> bool:
        """Delete the job's checkpoints, so that it starts again. What its steps have written stays.

        Returns:
            Whether the job had any.
        """
        with database().begin() as connection:
            known = False
            for table in (steps, jobs):
                known |= connection.scalars(select(table.c.job).where(table.c.job == self.job).limit(1)).all() != []
                connection.execute(delete(table).where(table.c.job == self.job))
        return known


def status() -> list[JobStatus]:
    """Return the progress of each job, by name."""
    count = select(func.count()).where(steps.c.job == jobs.c.job).scalar_subquery()
    with database().connect() as connection:
        rows = connection.execute(select(jobs.c.job, count, jobs.c.total).order_by(jobs.c.job))
        return [JobStatus(*row) for row in rows]
