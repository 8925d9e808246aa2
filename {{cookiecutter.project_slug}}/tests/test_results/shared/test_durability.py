"""Results: they outlive their process, come back in another, and are JSON."""

import json
import signal
{%- if cookiecutter.cache_key != "none" %}
from collections.abc import Callable
{%- endif %}
from pathlib import Path

import pytest
from prefect import State, flow

from {{ cookiecutter.package_name }}.durable import durable_task, stored
from {{ cookiecutter.package_name }}.results import register, storage

import store
from processes import Child

pytestmark = pytest.mark.usefixtures("api")

calls: list[int] = []


@durable_task(version="1")
def square(n: int) -> dict[str, int]:
    calls.append(n)
    return {"square": n * n}


@flow
def squares(last: int) -> list[State[dict[str, int]]]:
    futures = square.with_options(result_storage=storage()).map(range(last))
    futures.wait()
    return [future.state for future in futures]


def test_results_are_json() -> None:
    squares(1)
    (record,) = [json.loads(store.read(name)) for name in store.names()]
    assert record["metadata"]["serializer"]["type"] == "json", "not pickle, which can run code where it is read"
    assert json.loads(record["result"]) == {"square": 0}


def test_what_is_stored_is_known() -> None:
    assert all(map(stored, squares(2)))
{%- if cookiecutter.cache_key != "none" %}
    assert [state.name for state in squares(2)] == ["Cached", "Cached"]
    assert all(map(stored, squares(2)))
{%- endif %}


WORKER = """
import os, signal, sys
from prefect import flow
from {{ cookiecutter.package_name }}.durable import durable_task

@durable_task(version="1")
def work(n: int) -> dict[str, int]:
    print("ran", n, flush=True)
    return {"n": n}

@flow
def job(last: int) -> None:
    for n in range(5):
        if n == last:
            os.kill(os.getpid(), signal.SIGKILL)
        assert work(n) == {"n": n}

job(int(sys.argv[1]))
"""


def worker(folder: Path, last: int) -> tuple[int | None, str]:
    """Do the job in a process of its own, which kills itself before the task `last`."""
    script = folder / "worker.py"
    script.write_text(WORKER)
    return Child(script, str(last)).end()
{%- if cookiecutter.cache_key != "none" %}


def test_killed_worker_loses_no_finished_result_and_another_process_runs_none_of_them(tmp_path: Path) -> None:
    assert worker(tmp_path, 3) == (-signal.SIGKILL, "ran 0\nran 1\nran 2\n")
    assert len(store.names()) == 3
    assert worker(tmp_path, 9) == (0, "ran 3\nran 4\n")


@pytest.mark.parametrize("cut", [lambda text: text[: len(text) // 2], lambda text: text[:-1], lambda text: b"{}"])
def test_damaged_record_is_computed_again(cut: Callable[[bytes], bytes]) -> None:
    squares(2)
    whole = {name: store.read(name) for name in store.names()}
    torn = min(whole)
    store.write(torn, cut(whole[torn]))
    calls.clear()
    states = squares(2)
    assert [state.result() for state in states] == [{"square": 0}, {"square": 1}]
    assert len(calls) == 1, "neither returned nor fatal: the one task has run again"
    assert json.loads(store.read(torn))["result"] == json.loads(whole[torn])["result"], "and its record is whole"
{%- else %}


def test_killed_worker_loses_no_finished_result(tmp_path: Path) -> None:
    assert worker(tmp_path, 3) == (-signal.SIGKILL, "ran 0\nran 1\nran 2\n")
    assert sorted(json.loads(json.loads(store.read(name))["result"])["n"] for name in store.names()) == [0, 1, 2]
{%- endif %}


def test_register_may_be_repeated_and_leaves_no_trace() -> None:
    assert register() == register()
    assert store.names() == []
