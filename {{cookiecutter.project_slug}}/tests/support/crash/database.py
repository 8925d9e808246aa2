"""A process that does steps until it is killed, for the tests of checkpoints.

The effect counts, `n = n + 1` in two statements, so that a step that is lost, doubled or half done shows.
"""

import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess
from typing import Any

from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, event, insert, select, update

from {{ cookiecutter.package_name }}.durable.checkpoints import Checkpoint, steps
from {{ cookiecutter.package_name }}.durable.settings import settings
from {{ cookiecutter.package_name }}.durable.tables import create
from {{ cookiecutter.package_name }}.durable.upserts import database

from tests.support import sink

HALVES = (0, 1)
POINTS = (
    "before the claim",
    "claimed",
    "half of the effect",
    "effect before mark",
    "marked before commit",
    "committed",
)
"""Where a process can be killed, in the order of a step."""
LEFT = 3
"""The exit code of a process that has left a step alone."""

counts = Table(
    "counts",
    MetaData(),
    Column("step", String(20), primary_key=True),
    Column("half", Integer, primary_key=True),
    Column("n", Integer, nullable=False),
)


class TwoTransactions(Checkpoint):
    """The mutant: the effect commits, then the mark does."""

    @contextmanager
    def step(self, key: str) -> Iterator[Connection | None]:
        with database().begin() as connection:
            done = connection.scalar(select(steps.c.step).where(steps.c.job == self.job, steps.c.step == key))
            yield None if done else connection
        if not done:
            with database().begin() as connection:
                connection.execute(insert(steps).values(job=self.job, step=key, done_at=datetime.now(UTC)))


class MarkFirst(Checkpoint):
    """The mutant: the mark commits, then the effect does."""

    @contextmanager
    def step(self, key: str) -> Iterator[Connection | None]:
        with super().step(key) as marked:
            pass
        with database().begin() as connection:
            yield connection if marked else None


def prepare(keys: list[str]) -> None:
    """Make the tables, with a count of 0 for each half of each step."""
    create(database())
    with database().begin() as connection:
        counts.create(connection)
        connection.execute(insert(counts), [{"step": key, "half": half, "n": 0} for key in keys for half in HALVES])


def outcome(job: str, keys: list[str]) -> tuple[Counter[int], bool]:
    """How often the halves of the steps took effect, and whether just those steps are marked that did."""
    assert sink.is_sound()
    with database().connect() as connection:
        rows = connection.execute(select(counts.c.step, counts.c.n)).all()
    done = Checkpoint(job).done()
    return Counter(n for _, n in rows), all((n == 1) == (step in done) for step, n in rows if step in keys)


def killer(point: str | None, hit: int, deadly: int) -> Callable[[str], None]:
    """What a process calls at each point; it gets a signal the so many-th time that it comes to the given one."""
    hits = 0

    def at(here: str) -> None:
        nonlocal hits
        hits += here == point
        if here == point and hits == hit:
            (settings.home / f"{os.getpid()}.hit").touch()
            os.kill(os.getpid(), deadly)

    engine = database()

    @event.listens_for(engine, "before_cursor_execute")
    def before(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO steps"):
            at("before the claim")

    @event.listens_for(engine, "after_cursor_execute")
    def after(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO steps"):
            at("claimed")

    @event.listens_for(engine, "commit")
    def commit(_connection: Any) -> None:
        at("marked before commit")

    return at


def stopped(process: BaseProcess) -> bool:
    """Whether a process has come to the point where it gets its signal."""
    return (settings.home / f"{process.pid}.hit").exists()


def work(
    checkpoint: Checkpoint, keys: list[str], point: str | None = None, hit: int = 1, deadly: int = signal.SIGKILL
) -> None:
    """Do all steps that are not done, in an order of this process's own; get a signal at the given point."""
    remaining = checkpoint.remaining(keys)
    at = killer(point, hit, deadly)
    for key in random.Random(os.getpid()).sample(remaining, len(remaining)):
        with checkpoint.step(key) as connection:
            if connection is None:
                continue
            add(connection, key, 0)
            at("half of the effect")
            add(connection, key, 1)
            at("effect before mark")
        at("committed")


def come_late(checkpoint: Checkpoint, key: str) -> None:
    """Do a step without a look at what remains."""
    with checkpoint.step(key) as connection:
        if connection is None:
            sys.exit(LEFT)
        for half in HALVES:
            add(connection, key, half)


def add(connection: Connection, key: str, half: int) -> None:
    connection.execute(update(counts).where(counts.c.step == key, counts.c.half == half).values(n=counts.c.n + 1))
