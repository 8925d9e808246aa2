"""Marks beside the results: what several workers may do, what stands in the store, and what is said if it fails."""

import json
from multiprocessing.pool import ThreadPool
from multiprocessing.synchronize import Barrier

import pytest

from {{ cookiecutter.package_name }}.durable import marks
from {{ cookiecutter.package_name }}.durable.checkpoints import Checkpoint, status
from {{ cookiecutter.package_name }}.durable.probe import StoreError
from {{ cookiecutter.package_name }}.durable.results import RESULTS

from tests.support import sink
from tests.support.processes import FORKS

pytestmark = pytest.mark.usefixtures("api")


def meet(barrier: Barrier) -> None:
    """Do the step together with another process."""
    read = marks.read

    def look(name: str) -> bytes | None:
        found = read(name)
        barrier.wait(60)
        return found

    vars(marks)["read"] = look
    with Checkpoint("job").step("a") as connection:
        assert connection is not None, "nothing keeps the other one from doing it too"


@pytest.mark.skipif(sink.WRITERS == 1, reason="one process at a time has the database open")
def test_two_workers_at_the_same_step_may_both_do_it_and_leave_one_mark() -> None:
    barrier = FORKS.Barrier(2)
    workers = [FORKS.Process(target=meet, args=(barrier,), daemon=True) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert Checkpoint("job").done() == {"a"}
    assert len(marks.names("")) == 1


@pytest.mark.skipif(isinstance(RESULTS, str), reason="the servers of stores see to it that no object is read in part")
def test_mark_that_is_written_again_is_read_whole() -> None:
    contents = [character * 300_000 for character in (b"a", b"b")]

    def write() -> None:
        for n in range(100):
            marks.write("job/mark", contents[n % 2])

    marks.write("job/mark", contents[0])
    with ThreadPool(1) as pool:
        writing = pool.apply_async(write)
        while not writing.ready():
            assert marks.read("job/mark") in contents
        writing.get()


def test_mark_says_what_it_is() -> None:
    Checkpoint("Nightly load").remaining(["2013-01-01@ab"])
    with Checkpoint("Nightly load").step("2013-01-01@ab"):
        pass
    job, mark = sorted(marks.names(""), reverse=True, key=lambda name: name.endswith("job.json"))
    assert job.startswith("Nightly-load-")
    assert mark.endswith("/2013-01-01_40ab")
    assert json.loads(marks.read(mark) or b"") | {"done_at": ""} == {
        "job": "Nightly load",
        "step": "2013-01-01@ab",
        "done_at": "",
    }


def test_what_is_left_is_found_by_one_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = Checkpoint("job")
    keys = [f"{n:>0200}" for n in range(9)]
    checkpoint.remaining(keys)
    for key in keys[:5]:
        with checkpoint.step(key):
            pass
    calls: list[str] = []
    names, read = marks.names, marks.read

    def count_names(prefix: str) -> list[str]:
        calls.append("list")
        return names(prefix)

    def count_read(name: str) -> bytes | None:
        calls.append("read")
        return read(name)

    monkeypatch.setattr(marks, "names", count_names)
    monkeypatch.setattr(marks, "read", count_read)
    assert checkpoint.remaining(keys) == keys[5:]
    assert calls == ["list", "read"], "the marks, and the total"
    calls.clear()
    assert checkpoint.done() == set(keys[:5])
    assert calls == ["list"]


def test_store_that_fails_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = Checkpoint("job")

    def fail(*_: object) -> None:
        raise StoreError("a checkpoint cannot be written")

    with monkeypatch.context() as patch:
        patch.setattr(marks, "write", fail)
        with pytest.raises(StoreError), checkpoint.step("a"):
            pass
    assert checkpoint.remaining(["a"]) == ["a"]


def test_names_are_found_beyond_a_page() -> None:
    # Stores list 1000 names at a time, or 5000.
    for n in range(3):
        marks.write(f"job-0/{n}", b"")
    assert sorted(marks.names("job-0/")) == ["0", "1", "2"]
    assert marks.names("job-1/") == []
    assert marks.read("job-0/9") is None
    marks.delete("job-0/9")
    marks.delete("job-0/1")
    assert sorted(marks.names("")) == ["job-0/0", "job-0/2"]
    assert status() == []
