"""A full disk: what does not fit is an error, nothing of it stays, and once there is room the rest is done."""

import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from {{ cookiecutter.package_name }}.durable.checkpoints import Checkpoint
from {{ cookiecutter.package_name }}.durable.upserts import database, upsert

from tests.support import sink
from tests.support.crash import counts, outcome, prepare, work
from tests.support.processes import FORKS

KEYS = [f"step-{n}" for n in range(40)]


@contextmanager
def room(size: int) -> Iterator[None]:
    """Let this process write no file beyond so many bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def do_steps(size: int) -> None:
    failed = False
    with room(size):
        try:
            work(Checkpoint("job"), KEYS)
        except OperationalError:
            failed = True
    sink.release()
    assert failed or size, "it was written in spite of the limit"
    assert failed == (len(Checkpoint("job").done()) < len(KEYS))
    assert outcome("job", KEYS)[1]
    work(Checkpoint("job"), KEYS)


def write_rows(size: int) -> None:
    rows = [{"step": f"row-{n}", "half": 0, "n": n} for n in range(60_000)]
    with room(size), pytest.raises(OperationalError), database().begin() as connection:
        upsert(connection, counts, rows)
    sink.release()
    with database().begin() as connection:
        assert connection.scalar(select(func.count()).select_from(counts)) == 2 * len(KEYS)
        assert upsert(connection, counts, rows).inserted == len(rows)


def run(target: Callable[[int], None], size: int) -> None:
    """Call a function in a process of its own, whose limit is its own too."""
    sink.release()
    process = FORKS.Process(target=target, args=(size,), daemon=True)
    process.start()
    process.join(100)
    assert process.exitcode == 0


@pytest.mark.parametrize("size", [0, 1, 3000, 40_000, 100_000])
def test_each_step_is_done_once_or_not_at_all(size: int) -> None:
    prepare(KEYS)
    run(do_steps, size)
    assert outcome("job", KEYS) == ({1: 2 * len(KEYS)}, True)


@pytest.mark.parametrize("size", [0, 100_000])
def test_rows_are_written_all_or_none(size: int) -> None:
    prepare(KEYS)
    run(write_rows, size)
    assert sink.is_sound()
