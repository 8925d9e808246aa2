"""How often and when failed tasks and flows are tried again, and that what is finished stays finished."""

import asyncio
import inspect
import statistics
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prefect import flow, task
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.transactions import transaction
from prefect.utilities.math import clamped_poisson_interval

from {{ cookiecutter.package_name }}.durable.attempts import task_retries
from {{ cookiecutter.package_name }}.durable.errors import SettingsError
from {{ cookiecutter.package_name }}.durable.retries import DELAYS, FLOW_RETRIES, RETRIES
from {{ cookiecutter.package_name }}.durable.settings import PREFIX
from {{ cookiecutter.package_name }}.durable.tasks import durable_task
from {{ cookiecutter.package_name }}.durable.transient import RetrySettings, should_retry

from tests.support import store, toys
from tests.support.toy import load_toys

JITTER = RETRIES["retry_jitter_factor"]
LOWEST = 0.62
"""By which a delay is multiplied at least, with a jitter of 0.5."""


def busy() -> httpx.HTTPStatusError:
    request = httpx.Request("GET", "http://127.0.0.1")
    return httpx.HTTPStatusError("", request=request, response=httpx.Response(503, request=request))


def without_delay(work: Any) -> Any:
    return work.with_options(retry_delay_seconds=0, retry_jitter_factor=0)


# Delays


def test_delays_are_a_list_of_seconds_for_each_retry() -> None:
    assert type(DELAYS) is list, "Prefect refuses a tuple"
    assert RETRIES["retry_delay_seconds"] == DELAYS
    assert RETRIES["retries"] == len(DELAYS)
    assert RETRIES["retry_condition_fn"] is should_retry
    with pytest.raises(TypeError, match="tuple"):
        task(**(RETRIES | {"retry_delay_seconds": tuple(DELAYS)}))(busy)


@pytest.mark.parametrize("delay", sorted({*DELAYS, 8}))
def test_jitter_spreads_a_delay_around_itself(delay: float) -> None:
    drawn = [clamped_poisson_interval(delay, JITTER) / delay for _ in range(5000)]
    assert min(drawn) >= LOWEST
    assert max(drawn) <= 1 + JITTER
    assert max(drawn) - min(drawn) > 0.8, "the whole range is used"
    assert statistics.mean(drawn) == pytest.approx(1, abs=0.03)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that Prefect would have slept before the retries of tasks."""
    seconds: list[float] = []
    clock = SimpleNamespace(**vars(time) | {"sleep": seconds.append})
    monkeypatch.setattr("prefect.task_engine.time", clock)
    return seconds


@pytest.mark.usefixtures("api")
def test_delays_that_prefect_sleeps_are_those_listed_with_jitter(slept: list[float]) -> None:
    @durable_task(version="1", refresh_cache=True)
    def fail() -> None:
        raise busy()

    @flow
    def job() -> None:
        for _ in range(4):
            fail(return_state=True)

    job()
    assert len(slept) == 4 * len(DELAYS)
    for attempt, delay in enumerate(DELAYS):
        drawn = [seconds / delay for seconds in slept[attempt :: len(DELAYS)]]
        # Prefect counts from the moment at which it drew, some milliseconds before it sleeps.
        assert min(drawn) > LOWEST - 0.2 / delay
        assert max(drawn) <= 1 + JITTER
        assert max(drawn) > min(drawn), "tasks that failed together do not return together"


@pytest.mark.usefixtures("api")
def test_more_retries_than_delays_repeat_the_last_delay(slept: list[float]) -> None:
    # In Prefect 3.9 with_options(retries=…) alone keeps the delays: for more of them, give retry_delay_seconds too.
    @durable_task(version="1", refresh_cache=True)
    def fail() -> None:
        raise busy()

    @flow
    def job() -> None:
        fail.with_options(retries=len(DELAYS) + 2)(return_state=True)

    job(return_state=True)
    assert len(slept) == len(DELAYS) + 2
    assert all(LOWEST * 0.8 < seconds / DELAYS[-1] <= 1 + JITTER for seconds in slept[-3:])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RETRY_JITTER", "0"),
        ("RETRY_JITTER", "1.1"),
        ("RETRY_AFTER_MAX", "-PT1S"),
        ("FLOW_RETRIES", "-1"),
        ("FLOW_RETRY_DELAY", "-PT1S"),
    ],
)
def test_setting_out_of_range_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(SettingsError, match=PREFIX + name):
        RetrySettings()


# Calls


def calls_of(errors: list[Exception], asynchronous: bool) -> int:
    """How often a task is called that raises these errors one after the other, and then succeeds."""
    calls = 0

    def fragile() -> None:
        nonlocal calls
        calls += 1
        if calls <= len(errors):
            raise errors[calls - 1]

    async def fragile_async() -> None:
        fragile()

    options: dict[str, Any] = {"version": "1", "refresh_cache": True}
    if asynchronous:
        quick = without_delay(durable_task(**options)(fragile_async))

        @flow
        async def once_async() -> None:
            await quick(return_state=True)

        async def run() -> None:
            await once_async(return_state=True)

        asyncio.run(run())
    else:
        quick = without_delay(durable_task(**options)(fragile))

        @flow
        def once() -> None:
            quick(return_state=True)

        once(return_state=True)
    return calls


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(
    ("errors", "calls"),
    [
        ([TimeoutError()], 2),
        ([TimeoutError(), busy(), ConnectionResetError()], 4),
        ([TimeoutError()] * 60, 1 + len(DELAYS)),
        ([ValueError("bad data")], 1),
        ([TimeoutError(), ValueError("bad data")], 2),
    ],
    ids=["once", "three kinds", "more than the retries", "bad data", "bad data after a time-out"],
)
def test_number_of_calls(errors: list[Exception], calls: int, asynchronous: bool) -> None:
    assert calls_of(errors, asynchronous) == calls


@pytest.mark.usefixtures("api")
def test_task_that_takes_too_long_is_tried_again() -> None:
    calls = []

    @durable_task(version="1", refresh_cache=True, timeout_seconds=0.2)
    def slow() -> None:
        calls.append(1)
        # In pieces: Prefect can only end a synchronous task between two steps of Python.
        for _ in range(1000 if len(calls) == 1 else 0):
            time.sleep(0.01)

    @flow
    def job() -> None:
        without_delay(slow)()

    job()
    assert len(calls) == 2


# What is finished


calls: Counter[int] = Counter()
"""Calls of `step`, by its number."""
failures: dict[int, list[Exception]] = {}
"""What `step` is still to raise."""


@durable_task(version="1", cache_key_fn=lambda context, parameters: f"step {parameters['n']}")
def step(n: int) -> int:
    calls[n] += 1
    if failures.get(n):
        raise failures[n].pop(0)
    return n * n


def stored() -> int:
    """How many results of `step` are stored."""
    return len([name for name in store.names() if name.startswith("step ")])


@pytest.fixture(autouse=True)
def _forget() -> None:
    calls.clear()
    failures.clear()


@flow
def steps() -> list[int]:
    return [without_delay(step)(n) for n in range(4)]


@flow
def mapped() -> list[int]:
    results: list[int] = without_delay(step).map(range(4)).result()
    return results


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("job", [steps, mapped], ids=["in turn", "mapped"])
def test_retried_task_keeps_the_results_of_its_siblings(job: Any) -> None:
    failures[2] = [TimeoutError(), busy()]
    assert job() == [0, 1, 4, 9]
    assert calls == {0: 1, 1: 1, 2: 3, 3: 1}
    assert stored() == 4
    assert job() == [0, 1, 4, 9]
    assert calls == {0: 1, 1: 1, 2: 3, 3: 1}, "a new run runs none of them"


@pytest.mark.usefixtures("api")
def test_task_that_fails_for_good_keeps_the_results_of_its_siblings() -> None:
    failures[2] = [ValueError("bad data")]
    assert mapped(return_state=True).is_failed()
    assert calls == {0: 1, 1: 1, 2: 1, 3: 1}
    assert stored() == 3
    assert mapped() == [0, 1, 4, 9]
    assert calls == {0: 1, 1: 1, 2: 2, 3: 1}, "a new run runs what failed, and nothing else"


@pytest.mark.usefixtures("api")
def test_retry_inside_a_transaction_would_lose_the_results_of_its_siblings() -> None:
    # Why the project's modules do without Prefect's transactions (test_conventions.py).
    failures[2] = [TimeoutError()]

    @flow
    def job() -> None:
        with transaction():
            for n in range(4):
                without_delay(step)(n)

    assert job(return_state=True).is_completed()
    assert stored() < 4


# Flows


def test_flow_takes_the_settings_and_is_not_run_again_by_default() -> None:
    assert (load_toys.retries, load_toys.retry_delay_seconds) == (0, 60)


@pytest.mark.usefixtures("api")
def test_flow_takes_no_list_of_delays_and_no_jitter() -> None:
    assert isinstance(FLOW_RETRIES["retry_delay_seconds"], (int, float))
    assert not {"retry_jitter_factor", "retry_condition_fn"} & set(inspect.signature(flow).parameters)
    delays: Any = [1.0, 2.0]

    @flow(retries=2, retry_delay_seconds=delays)
    def job() -> None: ...

    with pytest.raises(TypeError, match="not 'list'"):
        job()


@pytest.mark.usefixtures("api")
def test_flow_that_is_run_again_does_what_is_left() -> None:
    failures[2] = [ValueError("not transient: the flow's own retry")]
    assert steps.with_options(**FLOW_RETRIES | {"retries": 1, "retry_delay_seconds": 0})() == [0, 1, 4, 9]
    assert calls == {0: 1, 1: 1, 2: 2, 3: 1}


@pytest.mark.usefixtures("api")
def test_load_that_is_run_again_does_what_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    checked: Counter[str] = Counter()

    def fail_once(chunk: toys.Toys) -> object:
        checked[chunk.label] += 1
        if checked["02"] == 1 and chunk.label == "02":
            raise ValueError("bad luck")
        return toys.check(chunk)

    monkeypatch.setattr("tests.support.toy.check", fail_once)
    threads: Any = ThreadPoolTaskRunner()  # which share what is counted
    again = load_toys.with_options(retries=1, retry_delay_seconds=0, task_runner=threads)
    report = again(toys.chunks(tmp_path / "toys.txt", 4))
    # Of a store that fails to give a result, its chunk is done again: at least once, and not all of them.
    assert checked["02"] == 2
    assert sum(checked.values()) < 8
    assert report["skipped"] + report["done"] == 4


def test_policy_of_a_task_may_be_its_own() -> None:
    own = durable_task(version="1", **task_retries([5.0, 5.0]))(busy)
    assert (own.retries, own.retry_delay_seconds, own.retry_condition_fn) == (2, [5, 5], should_retry)
