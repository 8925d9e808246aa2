"""Two calls of a task at the same time, with the same key: once with ONCE, twice without it."""

import asyncio
import copy
import pickle
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from prefect import flow

from {{ cookiecutter.package_name }}.durable.locks import LOCKS, ONCE, FileLocks
from {{ cookiecutter.package_name }}.durable.tasks import durable_task

from tests.support.processes import Child

runs: list[str] = []
PAUSE = 0.5
"""Seconds in which the other call comes to the same key."""


@durable_task(version="1", **ONCE)
def once(name: str) -> str:
    runs.append(name)
    time.sleep(PAUSE)
    return name


@durable_task(version="1")
def often(name: str) -> str:
    runs.append(name)
    time.sleep(PAUSE)
    return name


@durable_task(version="1", **ONCE)
async def once_async(name: str) -> str:
    runs.append(name)
    await asyncio.sleep(PAUSE)
    return name


@durable_task(version="1", **ONCE)
def fails_first(name: str) -> str:
    runs.append(name)
    time.sleep(PAUSE)
    if len(runs) == 1:
        raise ValueError("the first one")
    return name


@pytest.fixture(autouse=True)
def no_runs() -> None:
    runs.clear()


@flow
def twice(work: str) -> list[object]:
    futures = [globals()[work].submit("a") for _ in range(2)]
    return [future.result(raise_on_failure=False) for future in futures]


@pytest.mark.usefixtures("api")
def test_two_threads_run_it_once_and_both_get_the_result() -> None:
    assert twice("once") == ["a", "a"]
    assert runs == ["a"]


@pytest.mark.usefixtures("api")
def test_two_threads_run_it_twice_without_a_lock() -> None:
    """A key alone does not help: there is no result yet when the second one looks for it."""
    assert twice("often") == ["a", "a"]
    assert runs == ["a", "a"]


@pytest.mark.usefixtures("api")
def test_other_keys_do_not_wait() -> None:
    @flow
    def both() -> None:
        futures = [once.submit(name) for name in "ab"]
        while len(runs) < 2:
            assert not all(future.state.is_final() for future in futures)
            time.sleep(0.01)
        for future in futures:
            future.result()

    both()


@pytest.mark.usefixtures("api")
def test_two_tasks_of_one_event_loop_run_it_once() -> None:
    @flow
    async def both() -> list[str]:
        return list(await asyncio.gather(once_async("a"), once_async("a")))

    assert asyncio.run(both()) == ["a", "a"]
    assert runs == ["a"]


@pytest.mark.usefixtures("api")
def test_holder_that_fails_lets_the_other_one_run() -> None:
    assert sorted(map(str, twice("fails_first"))) == ["a", "the first one"]
    assert runs == ["a", "a"]


SCRIPT = """
import os, sys, time
from pathlib import Path
from {{ cookiecutter.package_name }}.durable.locks import ONCE
from {{ cookiecutter.package_name }}.durable.tasks import durable_task

folder, kind, name = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

@durable_task(version="1", **(ONCE if kind == "once" else {}))
def work() -> str:
    (folder / f"{name}.in").touch()
    while not (folder / f"{name}.go").exists():
        time.sleep(0.01)
    return name

(folder / f"{name}.at").touch()
print(work(), flush=True)
"""


def wait(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Processes:
    """Two processes at the same task, with the same key."""

    def __init__(self, folder: Path, kind: str) -> None:
        (folder / "script.py").write_text(SCRIPT)
        self.folder = folder
        self.both = {}
        for name, before in (("a", "a.in"), ("b", "b.at")):
            self.both[name] = Child(folder / "script.py", str(folder), kind, name)
            wait(lambda before=before: self.has(before))  # type: ignore[misc]

    def has(self, file: str) -> bool:
        return (self.folder / file).exists()

    def go(self, name: str) -> None:
        (self.folder / f"{name}.go").touch()

    def answers(self) -> list[str]:
        return [child.end()[1].strip() for child in self.both.values()]


@pytest.mark.usefixtures("api")
def test_two_processes_run_it_once_and_both_get_the_result(tmp_path: Path) -> None:
    processes = Processes(tmp_path, "once")
    time.sleep(2 * PAUSE)
    processes.go("a")
    assert processes.answers() == ["a", "a"]
    assert not processes.has("b.in")


@pytest.mark.usefixtures("api")
def test_two_processes_run_it_twice_without_a_lock(tmp_path: Path) -> None:
    """So it is with Prefect's MemoryLockManager too."""
    processes = Processes(tmp_path, "often")
    wait(lambda: processes.has("b.in"))
    processes.go("a")
    processes.go("b")
    assert processes.answers() == ["a", "b"]


@pytest.mark.usefixtures("api")
def test_holder_that_is_killed_lets_the_other_one_run(tmp_path: Path) -> None:
    """The FileSystemLockManager of Prefect 3.9 keeps the lock of a dead process for ever."""
    processes = Processes(tmp_path, "once")
    time.sleep(2 * PAUSE)
    assert not processes.has("b.in")
    processes.both["a"].kill()
    wait(lambda: processes.has("b.in"))
    processes.go("b")
    assert processes.answers() == ["", "b"]


def test_locks_keep_to_the_protocol() -> None:
    def elsewhere(call: Callable[[], bool]) -> bool:
        found: list[bool] = []
        thread = threading.Thread(target=lambda: found.append(call()))
        thread.start()
        thread.join()
        return found[0]

    assert not LOCKS.is_locked("key")
    assert LOCKS.acquire_lock("key", "holder")
    assert LOCKS.is_locked("key")
    assert LOCKS.is_lock_holder("key", "holder")
    assert elsewhere(lambda: LOCKS.is_lock_holder("key", "holder")), "Prefect may store the result in another thread"
    assert not elsewhere(lambda: LOCKS.is_lock_holder("key", "other"))
    assert not elsewhere(lambda: LOCKS.acquire_lock("key", "other", 0))
    assert not elsewhere(lambda: FileLocks().acquire_lock("key", "other", 0)), "as another process sees it"
    assert not LOCKS.wait_for_lock("key", 0)
    assert not asyncio.run(LOCKS.await_for_lock("key", 0))
    assert not asyncio.run(LOCKS.aacquire_lock("key", "other", 0))
    assert elsewhere(lambda: LOCKS.acquire_lock("another/../key", "other", 0))
    LOCKS.release_lock("key", "holder")
    LOCKS.release_lock("key", "holder")
    assert not LOCKS.is_locked("key")
    assert LOCKS.wait_for_lock("key")
    assert asyncio.run(LOCKS.aacquire_lock("key", "other"))
    LOCKS.release_lock("key", "other")


def test_thread_does_not_wait_for_what_it_left_behind() -> None:
    """Prefect 3.9 drops the holder's name when it finds a stored result and cannot read it; the retry has another."""
    assert LOCKS.acquire_lock("key", "first try")
    assert LOCKS.acquire_lock("key", "second try", 0)
    LOCKS.release_lock("key", "second try")
    assert not LOCKS.is_locked("key")


def test_copies_of_a_task_have_the_same_locks() -> None:
    assert pickle.loads(pickle.dumps(LOCKS)) is copy.deepcopy(LOCKS) is LOCKS
    assert once.with_options(retries=1).cache_policy.lock_manager is LOCKS
