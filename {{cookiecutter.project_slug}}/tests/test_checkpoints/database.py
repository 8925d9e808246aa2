"""Checkpoints: each step takes effect exactly once, whenever and however often its process is killed."""

import multiprocessing
import os
import random
import signal
import sys
import time
from collections import Counter

import pytest
from sqlalchemy import select, text

from {{ cookiecutter.package_name }}.checkpoints import Checkpoint, JobStatus, status
from {{ cookiecutter.package_name }}.tables import create, epoch
from {{ cookiecutter.package_name }}.upsert import database

from crash import POINTS, TwoTransactions, counts, prepare, work

# Not fork, for this process has threads and open connections; the server of forks finds `crash` by PYTHONPATH.
os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["__main__", "crash"])

KEYS = [f"step-{n}" for n in range(40)]


def outcome(job: str, keys: list[str]) -> tuple[Counter[int], bool]:
    """How often the halves of the steps took effect, and whether just those steps are marked that did."""
    with database().connect() as connection:
        assert connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"
        rows = connection.execute(select(counts.c.step, counts.c.n)).all()
    done = Checkpoint(job).done()
    return Counter(n for _, n in rows), all((n == 1) == (step in done) for step, n in rows if step in keys)


def crash_once(checkpoint: Checkpoint, point: str, hit: int) -> Counter[int]:
    """Kill a process at a point, do the rest in another one, and return how often the effects were done."""
    prepare(KEYS)
    doomed = processes.Process(target=work, args=(checkpoint, KEYS, point, hit))
    doomed.start()
    doomed.join(60)
    assert doomed.exitcode == -signal.SIGKILL, f"the process did not come to {point!r} {hit} times"
    after_crash, consistent = outcome(checkpoint.job, KEYS)
    if type(checkpoint) is Checkpoint:
        assert consistent
        assert after_crash[1] == 2 * (hit if point == "committed" else hit - 1)
    finish(checkpoint)
    return outcome(checkpoint.job, KEYS)[0]


def finish(checkpoint: Checkpoint) -> None:
    process = processes.Process(target=work, args=(checkpoint, KEYS))
    process.start()
    process.join(60)
    assert process.exitcode == 0


@pytest.mark.parametrize("hit", [1, 7])
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_each_step_takes_effect_exactly_once(point: str, hit: int) -> None:
    checkpoint = Checkpoint("crash")
    assert crash_once(checkpoint, point, hit) == {1: 2 * len(KEYS)}
    finish(checkpoint)
    assert outcome("crash", KEYS) == ({1: 2 * len(KEYS)}, True), "a second run changes nothing"


def test_marking_in_a_second_transaction_would_be_caught() -> None:
    assert crash_once(TwoTransactions("crash"), "before the claim", 7) == {1: 2 * len(KEYS) - 2, 2: 2}


def torture(checkpoint: Checkpoint, keys: list[str], kills: int) -> int:
    """Let two processes at a time do the job, kill one of them at random again and again, and let the job end.

    Returns:
        The number of processes that were killed at work.
    """
    prepare(keys)
    dice = random.Random(13)
    killed = 0
    running = [processes.Process(target=work, args=(checkpoint, keys, None, 1, 0.002)) for _ in range(2)]
    for process in running:
        process.start()
    while any(process.is_alive() for process in running):
        if killed < kills:
            time.sleep(dice.uniform(0.01, 0.08))
            place = dice.randrange(2)
            running[place].kill()
            running[place].join()
            killed += running[place].exitcode == -signal.SIGKILL
            running[place] = processes.Process(target=work, args=(checkpoint, keys, None, 1, 0.002))
            running[place].start()
        else:
            for process in running:
                process.join(60)
    assert all(process.exitcode == 0 for process in running)
    return killed


def test_two_processes_killed_at_random_do_each_step_exactly_once() -> None:
    keys = [f"step-{n}" for n in range(600)]
    killed = torture(Checkpoint("torture"), keys, kills=25)
    assert killed >= 10
    assert outcome("torture", keys) == ({1: 2 * len(keys)}, True)


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
    assert checkpoint.remaining("cab") == ["c", "b"]
    assert status() == [JobStatus("job", 1, 3)]
    assert checkpoint.remaining("cad") == ["c", "d"], "a new plan"
    assert status() == [JobStatus("job", 1, 3)]


def test_reset_forgets_the_job_and_the_results_of_its_tasks() -> None:
    create(database())
    checkpoint = Checkpoint("job")
    checkpoint.remaining("a")
    with checkpoint.step("a"):
        pass
    before = epoch(database())
    checkpoint.reset()
    assert checkpoint.remaining("a") == ["a"]
    assert epoch(database()) != before
