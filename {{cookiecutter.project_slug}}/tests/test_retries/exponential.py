"""Retries: for what may pass by itself, later and later, and spread."""

import sqlite3
from collections.abc import Callable
from types import SimpleNamespace

import httpx
import pytest
from prefect import flow
from prefect.utilities.math import clamped_poisson_interval
from sqlalchemy.exc import IntegrityError, OperationalError

from {{ cookiecutter.package_name }}.durable import durable_task
from {{ cookiecutter.package_name }}.retries import DELAYS, RETRIES
from {{ cookiecutter.package_name }}.transient import is_transient


def http(status: int) -> httpx.HTTPStatusError:
    request = httpx.Request("GET", "http://127.0.0.1")
    return httpx.HTTPStatusError("", request=request, response=httpx.Response(status, request=request))


def sqlite(message: str) -> OperationalError:
    return OperationalError("SELECT 1", {}, sqlite3.OperationalError(message))


def wrapped(cause: Exception) -> Exception:
    try:
        raise RuntimeError("could not load") from cause
    except RuntimeError as error:
        return error


TRANSIENT = [
    TimeoutError(),
    ConnectionResetError(),
    ConnectionRefusedError(),
    httpx.ConnectError(""),
    httpx.ReadTimeout(""),
    http(429),
    http(503),
    sqlite("database is locked"),
    wrapped(TimeoutError()),
]
PERMANENT = [
    ValueError("bad data"),
    KeyError("column"),
    FileNotFoundError(),
    http(400),
    http(404),
    sqlite("no such table: flights"),
    IntegrityError("INSERT", {}, sqlite3.IntegrityError()),
    wrapped(ValueError()),
]


@pytest.mark.parametrize("error", TRANSIENT, ids=repr)
def test_error_that_may_pass_is_transient(error: Exception) -> None:
    assert is_transient(None, None, SimpleNamespace(data=error))


@pytest.mark.parametrize("error", PERMANENT, ids=repr)
def test_error_that_stays_is_not_transient(error: Exception) -> None:
    assert not is_transient(None, None, SimpleNamespace(data=error))


def test_state_without_an_error_is_not_transient() -> None:
    assert not is_transient(None, None, SimpleNamespace(data=None))


def test_errors_that_cause_each_other_end_the_search() -> None:
    one, two = ValueError(), ValueError()
    one.__cause__, two.__cause__ = two, one
    assert not is_transient(None, None, SimpleNamespace(data=one))


def test_delays_double_up_to_the_cap() -> None:
    assert DELAYS == [1, 2, 4, 8]
    assert RETRIES["retry_delay_seconds"] == DELAYS


def test_jitter_spreads_the_delays_within_its_bounds() -> None:
    drawn = [clamped_poisson_interval(8, RETRIES["retry_jitter_factor"]) for _ in range(2000)]
    assert min(drawn) >= 8 * 0.62
    assert max(drawn) <= 8 * 1.5
    assert max(drawn) - min(drawn) > 8 * 0.7, "the whole range is used"


def calls_of(errors: list[Exception]) -> int:
    """How often a task is called that raises these errors one after the other, and then succeeds."""
    calls = 0

    @durable_task(version="1", refresh_cache=True)
    def fragile() -> None:
        nonlocal calls
        calls += 1
        if calls <= len(errors):
            raise errors[calls - 1]

    quick = fragile.with_options(retry_delay_seconds=0, retry_jitter_factor=0)

    @flow
    def once() -> None:
        quick(return_state=True)

    once(return_state=True)
    return calls


@pytest.mark.usefixtures("api", "home")
@pytest.mark.parametrize(
    ("errors", "calls"),
    [
        ([TimeoutError()], 2),
        ([TimeoutError(), http(503), ConnectionResetError()], 4),
        ([TimeoutError()] * 9, 5),
        ([ValueError("bad data")], 1),
        ([TimeoutError(), ValueError("bad data")], 2),
    ],
    ids=["once", "three kinds", "more than the retries", "bad data", "bad data after a time-out"],
)
def test_number_of_calls(errors: list[Exception], calls: int) -> None:
    assert calls_of(errors) == calls


def test_condition_is_a_plain_function() -> None:
    # Prefect 3.8.8 takes any other callable for a condition that never holds.
    condition: Callable[..., bool] = RETRIES["retry_condition_fn"]
    assert type(condition) is type(calls_of)
