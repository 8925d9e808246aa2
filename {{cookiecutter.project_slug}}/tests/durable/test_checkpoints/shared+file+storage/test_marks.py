"""Checkpoints whose mark comes after the effect: each step happens at least once, and none is marked without."""

import random
import signal
import time
from multiprocessing.process import BaseProcess

import pytest

from {{ cookiecutter.package_name }}.durable import upserts
from {{ cookiecutter.package_name }}.durable.checkpoints import Checkpoint, status
from {{ cookiecutter.package_name }}.durable.names import JobStatus

from tests.support import effects, sink
from tests.support.crash import POINTS, MarkFirst, MarkInside, begun, prepare, work
from tests.support.processes import FORKS

pytestmark = pytest.mark.usefixtures("api")

KEYS = [f"step-{n}" for n in range(8)]
WORKERS = min(2, sink.WRITERS)


def start(
    checkpoint: Checkpoint, keys: list[str], point: str | None = None, hit: int = 1, pause: float = 0
) -> BaseProcess:
    """Let a process do what remains of a job."""
    sink.release()
    process = FORKS.Process(target=work, args=(checkpoint, keys, point, hit, pause), daemon=True)
    process.start()
    return process


def without_effect(checkpoint: Checkpoint) -> set[str]:
    """The steps that are marked and have not happened."""
    done = checkpoint.done()
    return done - effects.happened()


def crash_once(checkpoint: Checkpoint, point: str, hit: int) -> None:
    """Kill a process at a point, and do the rest in another one."""
    prepare()
    doomed = start(checkpoint, KEYS, point, hit)
    doomed.join(60)
    assert doomed.exitcode == -signal.SIGKILL, f"the process did not come to {point!r} {hit} times"
    if type(checkpoint) is Checkpoint:
        assert not without_effect(checkpoint)
        assert len(checkpoint.done()) == (hit if point == "marked" else hit - 1)
    finish(checkpoint)


def finish(checkpoint: Checkpoint) -> None:
    process = start(checkpoint, KEYS)
    process.join(60)
    assert process.exitcode == 0
    assert checkpoint.done() == set(KEYS)


@pytest.mark.parametrize("hit", [1, 5])
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_each_step_happens_and_only_the_killed_one_twice(point: str, hit: int) -> None:
    checkpoint = Checkpoint("crash")
    crash_once(checkpoint, point, hit)
    assert not without_effect(checkpoint)
    twice = 1 if point in ("half of the effect", "effect before commit", "committed before mark") else 0
    counts = [begun(key) for key in KEYS]
    assert sorted(counts) == [1] * (len(KEYS) - twice) + [2] * twice
    finish(checkpoint)
    assert [begun(key) for key in KEYS] == counts, "a second run changes nothing"


def test_marking_first_would_be_caught() -> None:
    checkpoint = MarkFirst("crash")
    crash_once(checkpoint, "half of the effect", 5)
    assert len(without_effect(checkpoint)) == 1


def test_marking_before_the_commit_would_be_caught() -> None:
    checkpoint = MarkInside("crash")
    crash_once(checkpoint, "effect before commit", 5)
    # Without a database nothing is rolled back.
    assert len(without_effect(checkpoint)) == int(upserts.WRITES)


def test_processes_killed_at_random_lose_no_step() -> None:
    checkpoint = Checkpoint("torture")
    keys = [f"step-{n}" for n in range(120)]
    dice = random.Random(13)
    killed = 0
    prepare()
    running = [start(checkpoint, keys, pause=0.02) for _ in range(WORKERS)]
    deadline = time.monotonic() + 8
    while killed < 12 and time.monotonic() < deadline and all(process.is_alive() for process in running):
        time.sleep(dice.uniform(0.02, 0.2))
        place = dice.randrange(WORKERS)
        running[place].kill()
        running[place].join()
        killed += running[place].exitcode == -signal.SIGKILL
        assert not without_effect(checkpoint)
        running[place] = start(checkpoint, keys, pause=0.02)
    for process in running:
        process.join(60)
        assert process.exitcode == 0
    assert killed >= 2
    assert checkpoint.done() == set(keys)
    assert not without_effect(checkpoint)
    assert min(begun(key) for key in keys) == 1


def test_step_that_raises_leaves_nothing_and_can_be_done_again() -> None:
    prepare()
    checkpoint = Checkpoint("job")

    def fail() -> None:
        with checkpoint.step("a") as connection:
            assert connection is not None
            effects.leave(connection, "a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert checkpoint.done() == set()
    # Without a database nothing is rolled back.
    assert effects.happened() == (set() if upserts.WRITES else {"a"})
    work(checkpoint, ["a"])
    assert checkpoint.done() == effects.happened() == {"a"}


def test_step_that_is_done_is_left_alone() -> None:
    checkpoint = Checkpoint("job")
    with checkpoint.step("a") as first:
        assert first is not None
    with checkpoint.step("a") as second:
        assert second is None


def test_jobs_do_not_see_each_other() -> None:
    for job in ("one", "One", "one/", "o" * 200, "o" * 199):
        assert Checkpoint(job).remaining(["a"]) == ["a"]
        with Checkpoint(job).step("a"):
            pass
    assert Checkpoint("two").remaining(["a"]) == ["a"]
    assert Checkpoint("two").reset()
    assert not Checkpoint("two").reset(), "nothing is known of it any more"
    assert Checkpoint("one").remaining(["a", "b"]) == ["b"]


def test_remaining_keeps_the_order_and_notes_the_total() -> None:
    checkpoint = Checkpoint("job")
    assert checkpoint.remaining(iter("cacb")) == ["c", "a", "b"]
    with checkpoint.step("a"):
        pass
    assert checkpoint.remaining(["c", "a", "b"]) == ["c", "b"]
    assert status() == [JobStatus("job", 1, 3)]
    assert checkpoint.remaining(["c", "a", "d"]) == ["c", "d"], "a new plan"
    assert status() == [JobStatus("job", 1, 3)]


def test_reset_forgets_the_job() -> None:
    checkpoint = Checkpoint("job")
    checkpoint.remaining(["a"])
    with checkpoint.step("a"):
        pass
    assert checkpoint.reset()
    assert status() == []
    assert checkpoint.remaining(["a"]) == ["a"]


@pytest.mark.parametrize(
    "keys",
    [
        ["a", "A"],
        [".", "..", "/", "a/b", "a.b", "a_2f", "_x", "con", " "],
        ["é" * 200, "é" * 199],
        ["\n", '"\\', "\U0001f600"],
    ],
    ids=["case", "paths", "long", "odd"],
)
def test_any_name_is_a_step_of_its_own(keys: list[str]) -> None:
    checkpoint = Checkpoint("a/../b: Ä")
    for place, key in enumerate(keys):
        assert checkpoint.remaining(keys) == keys[place:]
        with checkpoint.step(key) as connection:
            assert connection is not None
    assert checkpoint.done() == set(keys)
    assert [job.job for job in status()] == ["a/../b: Ä"]
