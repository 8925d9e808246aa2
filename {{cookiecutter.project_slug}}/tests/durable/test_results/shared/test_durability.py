"""Results: they outlive their process, come back in another, and are JSON."""

import json
import signal
from pathlib import Path

import pytest
from prefect import State, flow

from {{ cookiecutter.package_name }}.durable.cache_keys import ACROSS_RUNS
from {{ cookiecutter.package_name }}.durable.results import register, storage
from {{ cookiecutter.package_name }}.durable.tasks import durable_task, stored

from tests.support import store
from tests.support.processes import Child

pytestmark = pytest.mark.usefixtures("api")


@durable_task(version="1")
def square(n: int) -> dict[str, int]:
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
    assert [state.name for state in squares(2)] == ["Cached" if ACROSS_RUNS else "Completed"] * 2
    assert all(map(stored, squares(2)))


WORKER = """
import os, signal, sys
from prefect import flow
from {{ cookiecutter.package_name }}.durable.tasks import durable_task

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


def test_killed_worker_loses_no_finished_result_and_a_key_lets_another_process_run_none_of_them(tmp_path: Path) -> None:
    assert worker(tmp_path, 3) == (-signal.SIGKILL, "ran 0\nran 1\nran 2\n")
    assert sorted(json.loads(json.loads(store.read(name))["result"])["n"] for name in store.names()) == [0, 1, 2]
    left = range(3, 5) if ACROSS_RUNS else range(5)
    assert worker(tmp_path, 9) == (0, "".join(f"ran {n}\n" for n in left))


def test_register_may_be_repeated_and_leaves_no_trace() -> None:
    assert register() == register()
    assert store.names() == []
