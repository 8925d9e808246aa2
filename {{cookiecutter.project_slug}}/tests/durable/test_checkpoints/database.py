"""Checkpoints: each step takes effect exactly once, whenever and however often its process is killed."""

import importlib
import os
import random
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from prefect.task_runners import ThreadPoolTaskRunner
from sqlalchemy import select

from {{ cookiecutter.package_name }}.durable.checkpoints import Checkpoint, _claim, status, steps
from {{ cookiecutter.package_name }}.durable.names import JobStatus
from {{ cookiecutter.package_name }}.durable.tables import create
from {{ cookiecutter.package_name }}.durable.upserts import database

from tests.support import sink, toys
from tests.support.crash import (
    LEFT,
    POINTS,
    MarkFirst,
    TwoTransactions,
    come_late,
    counts,
    outcome,
    prepare,
    stopped,
    work,
)
from tests.support.processes import FORKS
from tests.support.toy import load_toys

KEYS = [f"step-{n}" for n in range(20)]


def start(
    checkpoint: Checkpoint, keys: list[str], point: str | None = None, hit: int = 1, deadly: int = signal.SIGKILL
) -> BaseProcess:
    """Let a process do what remains of a job."""
    sink.release()
    process = FORKS.Process(target=work, args=(checkpoint, keys, point, hit, deadly), daemon=True)
    process.start()
    return process


def finish(checkpoint: Checkpoint, keys: list[str]) -> None:
    process = start(checkpoint, keys)
    process.join(60)
    assert process.exitcode == 0


def crash_once(checkpoint: Checkpoint, point: str, hit: int) -> Counter[int]:
    """Kill a process at a point, do the rest in another one, and return how often the effects were done."""
    prepare(KEYS)
    doomed = start(checkpoint, KEYS, point, hit)
    doomed.join(60)
    assert doomed.exitcode == -signal.SIGKILL, f"the process did not come to {point!r} {hit} times"
    after_crash, consistent = outcome(checkpoint.job, KEYS)
    if type(checkpoint) is Checkpoint:
        assert consistent
        assert after_crash[1] == 2 * (hit if point == "committed" else hit - 1)
    finish(checkpoint, KEYS)
    return outcome(checkpoint.job, KEYS)[0]


@pytest.mark.slow
@pytest.mark.parametrize("hit", [1, 7])
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_each_step_takes_effect_exactly_once(point: str, hit: int) -> None:
    checkpoint = Checkpoint("crash")
    assert crash_once(checkpoint, point, hit) == {1: 2 * len(KEYS)}
    finish(checkpoint, KEYS)
    assert outcome("crash", KEYS) == ({1: 2 * len(KEYS)}, True), "a second run changes nothing"


@pytest.mark.slow
def test_marking_in_a_second_transaction_would_be_caught() -> None:
    assert crash_once(TwoTransactions("crash"), "before the claim", 7) == {1: 2 * len(KEYS) - 2, 2: 2}


@pytest.mark.slow
def test_marking_first_would_be_caught() -> None:
    assert crash_once(MarkFirst("crash"), "half of the effect", 7) == {1: 2 * len(KEYS) - 2, 0: 2}


def torture(checkpoint: Checkpoint, keys: list[str], kills: int) -> int:
    """Let processes do the job, as many at a time as may write, kill one at random again and again, and let it end.

    Returns:
        The number of processes that were killed at work.
    """
    prepare(keys)
    dice = random.Random(13)
    killed = 0
    running = [start(checkpoint, keys) for _ in range(sink.WRITERS)]
    while killed < kills and all(process.is_alive() for process in running):
        time.sleep(dice.uniform(0.01, 0.15))
        place = dice.randrange(sink.WRITERS)
        running[place].kill()
        running[place].join()
        killed += running[place].exitcode == -signal.SIGKILL
        running[place] = start(checkpoint, keys)
    for process in running:
        process.join(60)
        assert process.exitcode == 0
    return killed


@pytest.mark.slow
def test_processes_killed_at_random_do_each_step_exactly_once() -> None:
    keys = [f"step-{n}" for n in range(400 * sink.WRITERS)]
    killed = torture(Checkpoint("torture"), keys, kills=20)
    assert killed >= 5
    assert outcome("torture", keys) == ({1: 2 * len(keys)}, True)


@pytest.mark.parametrize("fails", [False, True])
def test_thread_waits_for_another_one_at_its_step_and_does_it_only_if_that_one_fails(fails: bool) -> None:
    create(database())
    checkpoint = Checkpoint("job")
    claimed, end = threading.Event(), threading.Event()

    def stand() -> None:
        with suppress(ZeroDivisionError), checkpoint.step("a"):
            claimed.set()
            end.wait(60)
            if fails:
                raise ZeroDivisionError

    def come() -> bool:
        with checkpoint.step("a") as connection:
            return connection is not None

    with ThreadPoolExecutor(2) as pool:
        pool.submit(stand)
        assert claimed.wait(60)
        second = pool.submit(come)
        assert not wait([second], 0.3).done
        end.set()
        assert second.result(60) == fails


@pytest.mark.slow
@pytest.mark.skipif(sink.WRITERS == 1, reason="one process at a time has the file open")
@pytest.mark.parametrize("fate", [signal.SIGCONT, signal.SIGKILL])
@pytest.mark.parametrize("point", ["claimed", "effect before mark", "marked before commit"])
def test_process_that_sleeps_in_a_step_ends_it_and_if_killed_another_one_does_it(
    point: str, fate: signal.Signals
) -> None:
    prepare(["a"])
    checkpoint = Checkpoint("job")
    slow = start(checkpoint, ["a"], point, deadly=signal.SIGSTOP)
    while not stopped(slow):
        assert slow.is_alive()
        time.sleep(0.01)
    second = FORKS.Process(target=come_late, args=(checkpoint, "a"), daemon=True)
    second.start()
    second.join(0.5)
    assert second.is_alive(), "it waits"
    os.kill(slow.pid or 0, fate)
    second.join(60)
    assert second.exitcode == (LEFT if fate == signal.SIGCONT else 0)
    slow.join(60)
    assert slow.exitcode == (0 if fate == signal.SIGCONT else -fate)
    assert outcome("job", ["a"]) == ({1: 2}, True)


def test_step_that_raises_leaves_nothing_and_can_be_done_again() -> None:
    prepare(["a"])
    checkpoint = Checkpoint("job")

    def fail() -> None:
        with checkpoint.step("a") as connection:
            assert connection is not None
            connection.execute(counts.update().values(n=9))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert checkpoint.done() == set()
    with checkpoint.step("a") as connection:
        assert connection is not None
        assert connection.scalars(select(counts.c.n)).all() == [0, 0]


def test_step_is_marked_with_the_time_where_prefect_s_server_is_loaded() -> None:
    importlib.import_module("prefect.server.utilities.database")  # changes how SQLAlchemy writes the time
    create(database())
    _claim.cache_clear()
    before = datetime.now(UTC).replace(microsecond=0)
    with Checkpoint("job").step("a") as connection:
        assert connection is not None
    with database().connect() as connection:
        assert before <= connection.scalars(select(steps.c.done_at)).one() <= datetime.now(UTC)


def test_step_that_is_done_is_left_alone() -> None:
    create(database())
    checkpoint = Checkpoint("job")
    with checkpoint.step("a") as first:
        assert first is not None
    with checkpoint.step("a") as second:
        assert second is None


def test_jobs_do_not_see_each_other() -> None:
    create(database())
    with Checkpoint("one").step("a"):
        pass
    assert Checkpoint("two").remaining(["a"]) == ["a"]
    Checkpoint("two").reset()
    assert Checkpoint("one").remaining(["a", "b"]) == ["b"]


def test_remaining_keeps_the_order_and_notes_the_total() -> None:
    create(database())
    checkpoint = Checkpoint("job")
    assert checkpoint.remaining(iter("cacb")) == ["c", "a", "b"]
    with checkpoint.step("a"):
        pass
    assert checkpoint.remaining(["c", "a", "b"]) == ["c", "b"]
    assert status() == [JobStatus("job", 1, 3)]
    assert checkpoint.remaining(["c", "a", "d"]) == ["c", "d"], "a new plan"
    assert status() == [JobStatus("job", 1, 3)]


def test_reset_forgets_the_job() -> None:
    create(database())
    checkpoint = Checkpoint("job")
    checkpoint.remaining(["a"])
    with checkpoint.step("a"):
        pass
    assert checkpoint.reset()
    assert status() == []
    assert checkpoint.remaining(["a"]) == ["a"]


@pytest.mark.usefixtures("api")
def test_job_that_was_reset_is_done_again_whatever_results_are_stored(tmp_path: Path) -> None:
    threads: Any = ThreadPoolTaskRunner()
    load = load_toys.with_options(task_runner=threads)
    path = toys.chunks(tmp_path / "toys.txt", 2)
    assert [load(path)["done"] for _ in range(2)] == [2, 0]
    assert Checkpoint(f"{toys.FLOW}/toys").reset()
    assert load(path)["done"] == 2
