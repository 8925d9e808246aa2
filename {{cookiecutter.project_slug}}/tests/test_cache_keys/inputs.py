"""Cache keys: the same for the same work, in every process; other for other work."""

import importlib
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from pydantic import BaseModel

from {{ cookiecutter.package_name }}.cache_keys import CACHING
from {{ cookiecutter.package_name }}.canonical import canonical
from {{ cookiecutter.package_name }}.durable import durable_task


class Color(Enum):
    RED = 1


@dataclass(frozen=True)
class Part:
    name: str
    place: int = field(default=0, compare=False)


class Model(BaseModel):
    n: int


def test_order_does_not_matter() -> None:
    assert canonical({"a": 1, "b": {"x", "y"}}) == canonical({"b": {"y", "x"}, "a": 1})


def test_fields_that_do_not_compare_do_not_count() -> None:
    assert canonical(Part("a", 1)) == canonical(Part("a", 2))
    assert canonical(Part("a")) != canonical(Part("b"))


def test_values_that_look_alike_stay_apart() -> None:
    values: list[Any] = [
        None, True, 1, 1.0, "1", Decimal(1), b"1", ["1"], {"1"}, {"a": "1"}, {"n": 1}, [], {}, set(), "", "null",
        date(2013, 1, 1), datetime(2013, 1, 1, tzinfo=UTC), "2013-01-01", timedelta(1), float("nan"), float("inf"),
        UUID(int=1), str(UUID(int=1)), Path("1"), Color.RED, "RED", Part("1"), Model(n=1),
    ]  # fmt: skip
    assert len({canonical(value) for value in values}) == len(values)


@pytest.mark.parametrize("value", [object(), {1: "a"}, [1, {"a": object()}], lambda: 1, iter([1])])
def test_value_without_a_stable_form_is_an_error_that_says_where(value: object) -> None:
    with pytest.raises(TypeError, match=r"^parameters"):
        canonical(value, "parameters")


def test_key_is_the_same_in_another_process() -> None:
    code = """
from {{ cookiecutter.package_name }}.canonical import canonical
print(canonical({"a": {"x", "y", "z"}, "b": 1.5}))
"""
    texts = {
        subprocess.check_output(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}, text=True
        )
        for seed in ("1", "2")
    }
    assert texts == {canonical({"a": {"x", "y", "z"}, "b": 1.5}) + "\n"}


calls: list[tuple[str, object]] = []


@durable_task(version="1")
def one(value: object) -> str:
    calls.append(("one", value))
    return f"one {value}"


@durable_task(version="1")
def two(value: object) -> str:
    calls.append(("two", value))
    return f"two {value}"


def run(work: Callable[[], object]) -> int:
    """Do work in a flow run of its own, and count the task runs that were not cached."""
    calls.clear()

    @flow
    def once() -> None:
        work()

    once()
    return len(calls)


@pytest.mark.usefixtures("api", "home")
def test_task_is_run_again_only_for_other_work() -> None:
    assert run(lambda: one(1)) == 1
    assert run(lambda: one(1)) == 0, "the same inputs, in a new run"
    assert run(lambda: one(2)) == 1, "other inputs"
    assert run(lambda: two(1)) == 1, "another task with equal inputs"
    assert run(lambda: one.with_options(refresh_cache=True)(1)) == 1, "asked for"


@pytest.mark.usefixtures("api", "home")
def test_other_version_is_other_work() -> None:
    other = durable_task(version="2")(one.fn)
    assert run(lambda: one(1)) == 1
    assert run(lambda: other(1)) == 1


@pytest.mark.usefixtures("api", "home")
def test_task_is_run_again_after_expiry() -> None:
    brief = one.with_options(cache_expiration=timedelta(milliseconds=1))
    assert run(lambda: brief(1)) == 1
    assert run(lambda: brief(1)) == 1


STEPS = """
import os, signal
from prefect import flow
from {{ cookiecutter.package_name }}.durable import durable_task

@durable_task(version="1")
def work(n: int) -> int:
    print("ran", n, flush=True)
    return n * n

@flow
def job(last: int) -> None:
    for n in range(4):
        if n == last:
            os.kill(os.getpid(), signal.SIGKILL)
        assert work(n) == n * n
"""


@pytest.mark.usefixtures("api")
def test_finished_tasks_of_a_killed_process_are_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "steps.py").write_text(STEPS)
    command = [sys.executable, "-c", "import steps; steps.job(last=2)"]
    killed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert killed.stdout == "ran 0\nran 1\n"
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("steps").job(last=9)
    assert capfd.readouterr().out == "ran 2\nran 3\n"


def test_expiry_is_the_setting() -> None:
    assert one.cache_expiration == CACHING["cache_expiration"] == timedelta(days=30)
