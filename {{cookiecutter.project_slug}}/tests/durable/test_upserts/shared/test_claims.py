"""Claims: each item is handled exactly once, whoever is killed, and in whatever chunk it comes again."""

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from multiprocessing.pool import ThreadPool
from multiprocessing.process import BaseProcess
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, func, select, update

from {{ cookiecutter.package_name }}.durable import checkpoints, results, upserts
from {{ cookiecutter.package_name }}.durable.claims import claims
from {{ cookiecutter.package_name }}.durable.steps import Step
from {{ cookiecutter.package_name }}.durable.upserts import transaction

from tests.support import sink
from tests.support.processes import FORKS

pytestmark = [pytest.mark.usefixtures("api")] if checkpoints.IN_STORE and results.NEEDS_SERVER else []

JOB = "load-toys/toys"
ITEMS = [f"item {number}" for number in range(200)]
CHUNK = 20
"""Items of a chunk; each chunk shares half of them with the next one."""
CHUNKS = {f"chunk {first}": ITEMS[first : first + CHUNK] for first in range(0, len(ITEMS), CHUNK // 2)}

handled = Table(
    "handled",
    MetaData(),
    Column("item", String(20), primary_key=True),
    Column("times", Integer, nullable=False),
)


@pytest.fixture(autouse=True)
def tables() -> None:
    upserts.prepare()
    with transaction() as connection:
        handled.create(connection)
        connection.execute(handled.insert(), [{"item": item, "times": 0} for item in ITEMS])


def claim(items: Iterable[str], key: str = "key", job: str = JOB) -> list[str]:
    """Claim items in a step of their own."""
    step = Step(job, key, "", key)
    with step as connection:
        assert connection is not None
        return step.claim(items)


def handle(key: str, items: list[str]) -> None:
    """Do a chunk, in two statements: the upsert of a count would not be enough."""
    step = Step(JOB, key, "", key)
    with step as connection:
        if connection is None:
            return
        new = step.claim(items)
        for half in (new[: len(new) // 2], new[len(new) // 2 :]):
            connection.execute(update(handled).where(handled.c.item.in_(half)).values(times=handled.c.times + 1))


def handle_all() -> None:
    """Do all chunks, in an order of this process's own."""
    for key in random.sample(list(CHUNKS), len(CHUNKS)):
        handle(key, CHUNKS[key])
        time.sleep(0.005)


def times() -> Counter[int]:
    """How many items were handled how often."""
    with transaction() as connection:
        return Counter(connection.scalars(select(handled.c.times)))


def test_item_is_new_once_in_whatever_chunk_it_comes() -> None:
    assert claim(["b", "a", "b", "c"], "a file") == ["b", "a", "c"]
    assert claim(["c", "d", "a"], "the corrected file") == ["d"]
    assert claim(["a"], "a third one") == []
    assert claim([], "an empty one") == []


def test_corrected_chunk_handles_what_is_new_in_it() -> None:
    handle("a file", ITEMS[:150])
    handle("the corrected file", ITEMS)
    assert times() == {1: len(ITEMS)}


def test_jobs_do_not_share_claims() -> None:
    claim(["a"])
    assert claim(["a"], job="load-toys/others") == ["a"]


def test_step_that_rolls_back_leaves_no_claim() -> None:
    step = Step(JOB, "key", "", "key")

    def fail() -> None:
        with step:
            step.claim(["a"])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert claim(["a"]) == ["a"]


def test_one_step_may_claim_several_times() -> None:
    step = Step(JOB, "key", "", "key")
    with step:
        assert step.claim(["a", "b"]) == ["a", "b"]
        assert step.claim(["b", "c"]) == ["c"]


def test_thousands_of_items_are_claimed_at_once() -> None:
    many = [f"it's 50 % of {number} \N{FOX FACE}" for number in range(5000)]
    assert claim(many[::2], "half") == many[::2]
    assert claim(many, "all") == many[1::2]
    with transaction() as connection:
        assert connection.scalar(select(func.count()).select_from(claims)) == len(many)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["a", ""], "the name of the item is empty"),
        (["a" * 201], "the name of the item has 201 characters"),
        (["a\x00b"], "the name of the item holds a zero byte"),
        (["a", 5], "the name of the item is text, and not 5"),
        ("abc", "items are given as a list, and not as one text: 'abc'"),
    ],
)
def test_item_that_cannot_be_kept_is_refused(items: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        claim(items)
    assert claim(["a"]) == ["a"], "nothing was claimed"


def test_claim_needs_an_open_step() -> None:
    step = Step(JOB, "key", "", "key")
    with pytest.raises(RuntimeError, match="works in `with step as connection`"):
        step.claim(["a"])
    with step:
        pass
    with pytest.raises(RuntimeError, match="works in `with step as connection`"):
        step.claim(["a"])


@pytest.mark.parametrize("fails", [False, True])
def test_step_waits_for_another_one_with_the_same_item(fails: bool) -> None:
    claimed, end = threading.Event(), threading.Event()

    def first() -> None:
        step = Step(JOB, "first", "", "first")
        with step:
            step.claim(["a", "b"])
            claimed.set()
            end.wait(60)
            if fails:
                raise ZeroDivisionError

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(first)
        assert claimed.wait(60)
        two = pool.submit(claim, ["b", "c"], "second")
        assert not wait([two], 0.3).done
        end.set()
        assert two.result(60) == (["b", "c"] if fails else ["c"])
        assert isinstance(one.exception(60), ZeroDivisionError) == fails


@pytest.mark.slow
def test_steps_that_claim_the_same_items_in_another_order_do_not_deadlock() -> None:
    turns, items = 3, [f"item {item:04}" for item in range(5000)]
    begin = threading.Barrier(2)

    def work(number: int) -> int:
        new = 0
        for turn in range(turns):
            begin.wait(60)
            # In several statements: one writes from the first item on, and the other from the last.
            new += len(claim(items[:: 1 if number else -1], f"{turn} of {number}", f"load-toys/{turn}"))
        return new

    with ThreadPool(2) as pool:
        assert sum(pool.map(work, range(2), chunksize=1)) == turns * len(items)


@pytest.mark.slow
def test_processes_killed_at_random_handle_each_item_exactly_once() -> None:
    def start() -> BaseProcess:
        process = FORKS.Process(target=handle_all, daemon=True)
        process.start()
        return process

    dice = random.Random(13)
    killed = 0
    sink.release()
    for _ in range(10):
        running = [start() for _ in range(sink.WRITERS)]
        time.sleep(dice.uniform(0.02, 0.15))
        for process in running:
            process.kill()
            process.join(60)
            killed += process.exitcode == -signal.SIGKILL
        assert set(times()) <= {0, 1}
        sink.release()
    last = start()
    last.join(60)
    assert last.exitcode == 0
    assert killed >= 5
    assert times() == {1: len(ITEMS)}
