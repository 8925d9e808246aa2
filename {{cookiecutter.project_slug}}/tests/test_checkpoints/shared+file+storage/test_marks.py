"""Checkpoints whose mark comes after the effect: each step happens at least once, and none is marked without."""

import random
import signal
import time

import pytest

from {{ cookiecutter.package_name }}.checkpoints import Checkpoint, JobStatus, status

from crash import POINTS, MarkFirst, begun, happened, work
from processes import FORKS

pytestmark = pytest.mark.usefixtures("api")

KEYS = [f"step-{n}" for n in range(8)]


def without_effect(checkpoint: Checkpoint) -> set[str]:
    """The steps that are marked and have not happened."""
    return {key for key in checkpoint.done() if not happened(key)}


def crash_once(checkpoint: Checkpoint, point: str, hit: int) -> None:
    """Kill a process at a point, and do the rest in another one."""
    doomed = FORKS.Process(target=work, args=(checkpoint, KEYS, point, hit), daemon=True)
    doomed.start()
    doomed.join(60)
    assert doomed.exitcode == -signal.SIGKILL, f"the process did not come to {point!r} {hit} times"
    if type(checkpoint) is Checkpoint:
        assert not without_effect(checkpoint)
        assert len(checkpoint.done()) == (hit if point == "marked" else hit - 1)
    finish(checkpoint)


def finish(checkpoint: Checkpoint) -> None:
    process = FORKS.Process(target=work, args=(checkpoint, KEYS), daemon=True)
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert checkpoint.done() == set(KEYS)


@pytest.mark.parametrize("hit", [1, 5])
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_each_step_happens_and_only_the_killed_one_twice(point: str, hit: int) -> None:
    checkpoint = Checkpoint("crash")
    crash_once(checkpoint, point, hit)
    assert not without_effect(checkpoint)
    twice = 1 if point in ("half of the effect", "effect before mark") else 0
    counts = [begun(key) for key in KEYS]
    assert sorted(counts) == [1] * (len(KEYS) - twice) + [2] * twice
    finish(checkpoint)
    assert [begun(key) for key in KEYS] == counts, "a second run changes nothing"


def test_marking_first_would_be_caught() -> None:
    checkpoint = MarkFirst("crash")
    crash_once(checkpoint, "half of the effect", 5)
    assert len(without_effect(checkpoint)) == 1


def test_two_processes_killed_at_random_lose_no_step() -> None:
    checkpoint = Checkpoint("torture")
    keys = [f"step-{n}" for n in range(120)]
    dice = random.Random(13)
    killed = 0
    arguments = (checkpoint, keys, None, 1, 0.02)
    running = [FORKS.Process(target=work, args=arguments, daemon=True) for _ in range(2)]
    for process in running:
        process.start()
    deadline = time.monotonic() + 8
    while killed < 12 and time.monotonic() < deadline and all(process.is_alive() for process in running):
        time.sleep(dice.uniform(0.02, 0.2))
        place = dice.randrange(2)
        running[place].kill()
        running[place].join()
        killed += running[place].exitcode == -signal.SIGKILL
        assert not without_effect(checkpoint)
        running[place] = FORKS.Process(target=work, args=arguments, daemon=True)
        running[place].start()
    for process in running:
        process.join(60)
        assert process.exitcode == 0
    assert killed >= 2
    assert checkpoint.done() == set(keys)
    assert not without_effect(checkpoint)
    assert min(begun(key) for key in keys) == 1


def test_step_that_raises_is_not_marked() -> None:
    checkpoint = Checkpoint("job")

    def fail() -> None:
        with checkpoint.step("a") as todo:
            assert todo
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert checkpoint.done() == set()
    with checkpoint.step("a") as todo:
        assert todo
    assert checkpoint.done() == {"a"}


def test_step_that_is_done_is_left_alone() -> None:
    checkpoint = Checkpoint("job")
    with checkpoint.step("a") as first:
        assert first
    with checkpoint.step("a") as second:
        assert not second


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
        with checkpoint.step(key) as todo:
            assert todo
    assert checkpoint.done() == set(keys)
    assert [job.job for job in status()] == ["a/../b: Ä"]
