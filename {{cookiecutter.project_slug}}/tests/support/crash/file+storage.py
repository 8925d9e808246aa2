"""A process that does steps until it is killed, for the tests of checkpoints.

A step counts how often it began, and has its effect in its transaction: a step that is lost, repeated or marked before
its time shows.
"""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from {{ cookiecutter.package_name }}.durable import checkpoints
from {{ cookiecutter.package_name }}.durable.checkpoints import Checkpoint
from {{ cookiecutter.package_name }}.durable.settings import settings
from {{ cookiecutter.package_name }}.durable.upserts import Connection

from tests.support import effects, sink

POINTS = ("before the effect", "half of the effect", "effect before commit", "committed before mark", "marked")
"""Where a process can be killed, in the order of a step."""

At = Callable[[str], None]
Transaction = Callable[[], AbstractContextManager[Connection]]


class MarkFirst(Checkpoint):
    """The mutant: the mark, then the effect."""

    @contextmanager
    def step(self, key: str) -> Iterator[Connection | None]:
        with super().step(key) as connection:
            todo = connection is not None
        with transaction()() if todo else nullcontext() as connection:
            yield connection


class MarkInside(Checkpoint):
    """The mutant: the effect, the mark, and then the commit."""

    @contextmanager
    def step(self, key: str) -> Iterator[Connection | None]:
        whole = transaction()
        with whole() as connection:
            replace_transaction(lambda: nullcontext(connection))
            try:
                with super().step(key) as todo:
                    yield todo
            finally:
                replace_transaction(whole)


def transaction() -> Transaction:
    """What makes the transactions of steps."""
    found: Transaction = vars(checkpoints)["transaction"]
    return found


def replace_transaction(new: Transaction) -> None:
    vars(checkpoints)["transaction"] = new


def prepare() -> None:
    """Make the place for effects and for counts, and let other processes at it."""
    effects.prepare()
    _counts().mkdir()
    sink.release()


def begun(key: str) -> int:
    """How often the effect of a step began."""
    count = _counts() / key
    return len(count.read_bytes()) if count.exists() else 0


def _counts() -> Path:
    return settings.home / "counts"


def killer(point: str | None, hit: int) -> At:
    """What a process calls at each point; it dies the so many-th time that it comes to the given one."""
    hits = 0

    def at(here: str) -> None:
        nonlocal hits
        hits += here == point
        if here == point and hits == hit:
            os.kill(os.getpid(), signal.SIGKILL)

    return at


def watch_transactions(at: At) -> None:
    """Let a process die at the end of a transaction of a step."""
    whole = transaction()

    @contextmanager
    def watched() -> Iterator[Connection]:
        with whole() as connection:
            yield connection
            at("effect before commit")
        at("committed before mark")

    replace_transaction(watched)


def work(
    checkpoint: Checkpoint,
    keys: list[str],
    point: str | None = None,
    hit: int = 1,
    pause: float = 0,
    prepare: Callable[[At], None] = watch_transactions,
) -> None:
    """Do all steps that are not done, in an order of this process's own, and die at the given point."""
    remaining = checkpoint.remaining(keys)
    at = killer(point, hit)
    if point:
        prepare(at)
    for key in random.Random(os.getpid()).sample(remaining, len(remaining)):
        time.sleep(pause)
        with checkpoint.step(key) as connection:
            if connection is None:
                continue
            at("before the effect")
            with (_counts() / key).open("ab") as file:
                file.write(b"1")
            at("half of the effect")
            effects.leave(connection, key)
        at("marked")
