"""How a long job remembers what is done: a row a step, in the database that the step writes to.

The mark and the step's writes are one transaction. A crash at any moment leaves both or neither, and of two processes
at the same step one waits, then finds it done. Each step takes effect exactly once in this database; effects elsewhere
(mail, HTTP, files) are not part of that promise.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Column, Connection, Integer, String, Table, delete, func, select

from .steps import JobStatus, checked
from .tables import UtcDateTime, metadata, renew_epoch
from .upsert import database, insert

__all__ = ["Checkpoint", "JobStatus", "status", "steps"]

steps = Table(
    "steps",
    metadata,
    Column("job", String(200), primary_key=True),
    Column("step", String(200), primary_key=True),
    Column("done_at", UtcDateTime, nullable=False),
)
jobs = Table(
    "jobs",
    metadata,
    Column("job", String(200), primary_key=True),
    Column("total", Integer, nullable=False),
)


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
        keys = dict.fromkeys(checked(key, "step") for key in keys)
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
        back when the block raises. Yields None where the step is done already: then leave it.

        Compute first and open the step for the writes alone: other writers wait until it ends. So would another
        transaction of the same thread: use no other method of a checkpoint inside.
        """
        with database().begin() as connection:
            mark = insert(steps).values(job=self.job, step=checked(key, "step"), done_at=datetime.now(UTC))
            claimed = connection.execute(mark.on_conflict_do_nothing()).rowcount
            yield connection if claimed else None

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
            known = connection.execute(delete(steps).where(steps.c.job == self.job)).rowcount
            known += connection.execute(delete(jobs).where(jobs.c.job == self.job)).rowcount
        if known:
            renew_epoch(database())
        return known > 0


def status() -> list[JobStatus]:
    """Return how far each job is, by name."""
    count = select(func.count()).where(steps.c.job == jobs.c.job).scalar_subquery()
    with database().connect() as connection:
        rows = connection.execute(select(jobs.c.job, count, jobs.c.total).order_by(jobs.c.job))
        return [JobStatus(*row) for row in rows]
