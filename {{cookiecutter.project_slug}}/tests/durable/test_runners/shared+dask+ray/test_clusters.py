"""Tasks in the processes of a cluster: side by side, found again, tried again, and done again when a process dies."""

import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from prefect import flow

from {{ cookiecutter.package_name }}.durable import checkpoints, rejects, results, upserts
from {{ cookiecutter.package_name }}.durable.cache_keys import ACROSS_RUNS
from {{ cookiecutter.package_name }}.durable.cli import main
from {{ cookiecutter.package_name }}.durable.clusters import HERE, cluster_settings
from {{ cookiecutter.package_name }}.durable.errors import RejectsElsewhereError
from {{ cookiecutter.package_name }}.durable.runners import final_state, look_for_cluster, task_runner
from {{ cookiecutter.package_name }}.durable.settings import PREFIX, settings
from {{ cookiecutter.package_name }}.durable.tasks import POLICIES, durable_task

from tests.support import toy, toys
from tests.support.processes import TIMEOUT
from tests.support.toy import load_toys

pytestmark = pytest.mark.usefixtures("api")


def attempts(folder: Path) -> list[int]:
    """The processes that ran a task, by the files that it left."""
    return [int(path.suffix[1:]) for path in folder.glob("*.*")]


def leave(folder: Path, name: object) -> int:
    """Leave a file for this attempt; return how many there are by that name."""
    (folder / f"{name}-{time.monotonic_ns()}.{os.getpid()}").touch()
    return len(list(folder.glob(f"{name}-*")))


@pytest.mark.slow
def test_as_many_processes_work_at_a_time_as_there_are_workers(tmp_path: Path) -> None:
    @durable_task(version="1")
    def meet(n: int) -> int:
        leave(tmp_path, n)
        deadline = time.monotonic() + TIMEOUT
        while len(set(attempts(tmp_path))) < settings.workers:
            assert time.monotonic() < deadline, "the other processes have not come"
            time.sleep(0.01)
        return n

    @flow(task_runner=task_runner())
    def job() -> list[int]:
        return meet.map(range(settings.workers)).result()

    assert sorted(job()) == list(range(settings.workers))
    assert os.getpid() not in attempts(tmp_path)


@pytest.mark.slow
def test_second_run_finds_the_results_of_the_first(tmp_path: Path) -> None:
    @durable_task(version="1")
    def count(n: int, folder: str) -> int:
        leave(Path(folder), n)
        return n

    @flow(task_runner=task_runner())
    def job() -> list[int]:
        return count.map(range(4), folder=str(tmp_path)).result()

    assert job() == job() == [0, 1, 2, 3]
    # Without a cache key, each run does all.
    assert len(attempts(tmp_path)) == (4 if ACROSS_RUNS else 8)


@pytest.mark.slow
def test_error_that_may_pass_is_tried_again(tmp_path: Path) -> None:
    @durable_task(version="1", retries=2, retry_delay_seconds=0, retry_jitter_factor=None)
    def shaky(folder: str) -> int:
        if leave(Path(folder), "try") < 3:
            raise ConnectionResetError("not yet")
        return 3

    @durable_task(version="1", retries=2, retry_delay_seconds=0, retry_jitter_factor=None)
    def wrong(folder: str) -> None:
        leave(Path(folder), "wrong")
        raise ValueError("for good")

    @flow(task_runner=task_runner())
    def job() -> tuple[int, str]:
        futures = shaky.submit(str(tmp_path)), wrong.submit(str(tmp_path))
        return futures[0].result(), str(final_state(futures[1]).result(raise_on_failure=False))

    assert job() == (3, "for good")
    # Without a policy, any error is tried again.
    assert len(list(tmp_path.glob("wrong-*"))) == (1 if "retry_condition_fn" in POLICIES else 3)


def dies(folder: Path, function: Any, label: str) -> Any:
    """A function that kills its process when it is through with one chunk, the first time."""

    def wrapped(*arguments: Any) -> Any:
        result = function(*arguments)
        chunk = next((argument for argument in arguments if isinstance(argument, toys.Toys)), None)
        if (chunk is None or chunk.label == label) and leave(folder, "died") == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return wrapped


@pytest.mark.slow
@pytest.mark.parametrize("place", ["check", "upsert"] if upserts.WRITES else ["check"])
def test_chunk_whose_process_is_killed_is_done_again(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = toys.chunks(tmp_path / "toys.txt", 6)
    with monkeypatch.context() as patch:
        # A task goes to its process with what its module names now.
        patch.setattr(toy, place, dies(tmp_path, getattr(toy, place), "03"))
        report = load_toys(path)
    assert len(list(tmp_path.glob("died-*"))) >= 2, "no process was killed"
    # What the process had done before is done again too where the cluster had not yet fetched it.
    assert report["skipped"] + report["done"] == 6
    assert toy.table() == (toys.expected(path) if upserts.WRITES else {})


def test_rejected_records_on_other_machines_are_not_lost_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So it is where the machine of the run has another disk than those of the tasks.
    monkeypatch.setattr(rejects, "collect", lambda *_: (0, None))
    with pytest.raises(RejectsElsewhereError, match="1 rejected records are on the disks of other machines"):
        load_toys(toys.write(tmp_path / "toys.txt", "01 bear 1", "nonsense"))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:9", f"no cluster answers at {PREFIX}CLUSTER_ADDRESS=127.0.0.1:9: .* refused"),
        ("127.0.0.1", "names no host and port"),
        ("tcp://127.0.0.1:abc", "names no host and port"),
        ("127.0.0.1:99999", "names no host and port"),
        ("http://127.0.0.1:9", "does not begin with "),
    ],
)
def test_cluster_that_is_not_there_is_an_error_at_once(
    address: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cluster_settings.__dict__, "cluster_address", address)
    with pytest.raises((ConnectionError, ValueError), match=message):
        look_for_cluster()


@pytest.mark.parametrize(
    ("local", "message"),
    [
        ({}, "workers of 10.0.0.5:8786 may be on other machines, and PREFECT_API_URL"),
        ({"results": results, "tables": upserts}, "but files of this one hold the results and tables; leave"),
        ({"checkpoints": checkpoints}, "but files of this one hold the checkpoints; leave"),
    ],
    ids=["server", "results and tables", "checkpoints"],
)
def test_cluster_on_machines_that_do_not_reach_what_is_here_is_an_error(
    local: dict[str, ModuleType], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cluster_settings.__dict__, "cluster_address", "10.0.0.5:8786")
    for part in (results, upserts, checkpoints):
        monkeypatch.setattr(part, "LOCAL", "")
    for what, part in local.items():
        monkeypatch.setattr(part, "LOCAL", what)
    with pytest.raises(ValueError, match=message):
        look_for_cluster()


@pytest.mark.parametrize("command", [["run", toys.FLOW, "toys.txt"], ["resume"]], ids=["run", "resume"])
def test_command_without_its_cluster_is_one_line_and_does_nothing(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(cluster_settings.__dict__, "cluster_address", "127.0.0.1:9")
    monkeypatch.setattr(sys, "argv", ["project", *command])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"no cluster answers at {PREFIX}CLUSTER_ADDRESS=127.0.0.1:9: ")
    assert not list(settings.home.iterdir())


def test_run_on_machines_that_do_not_reach_what_is_here_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cluster_settings.__dict__, "cluster_address", "10.0.0.5:8786")
    with pytest.raises(ValueError, match=r"workers of 10\.0\.0\.5:8786 may be on other machines"):
        load_toys(toys.chunks(tmp_path / "toys.txt", 1))


def greet(server: socket.socket, greeting: bytes) -> None:
    with suppress(OSError):
        while True:
            with server.accept()[0] as connection:
                connection.sendall(greeting)


@pytest.mark.parametrize("greeting", [b"", b"SSH-2.0-OpenSSH_9.2\r\n"], ids=["silent", "talks"])
def test_what_answers_and_is_no_cluster_is_an_error_soon(greeting: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        if greeting:
            threading.Thread(target=greet, args=(server, greeting), daemon=True).start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setitem(cluster_settings.__dict__, "cluster_address", address)
        start = time.monotonic()
        with pytest.raises(ConnectionError, match=f"what answers at {PREFIX}CLUSTER_ADDRESS={address} is no "):
            look_for_cluster()
        assert time.monotonic() - start < 30, "as long as Dask and Ray themselves ask"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:4200/api",
        "http://localhost/api",
        "http://LOCALHOST:4200/api",
        "http://localhost",
        "postgresql://127.0.0.1?sslmode=require",
        "http://[::1]:80",
        "postgresql://user:pass@127.0.0.1:5432/toys",
        "postgresql+psycopg://user@/toys?host=/tmp/postgres",
        "sqlite:///toys.db",
        "BlobEndpoint=http://127.0.0.1:10000/account;",
    ],
)
def test_url_that_other_machines_do_not_reach_is_known(url: str) -> None:
    assert HERE.search(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://api.example.com/api",
        "http://10.0.0.5:4200/api",
        "postgresql://user:pass@localhosts/toys",
        "http://localhost.example.com/api",
        "http://127.example.com/api",
    ],
)
def test_url_that_other_machines_reach_is_known(url: str) -> None:
    assert not HERE.search(url)


def test_flow_runs_its_tasks_there() -> None:
    assert load_toys.task_runner == task_runner()


@pytest.mark.slow
def test_task_that_kills_each_process_fails_and_the_others_are_done() -> None:
    @durable_task(version="1")
    def deadly(n: int) -> int:
        if n == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return n

    @flow(task_runner=task_runner())
    def job() -> list[str]:
        return [final_state(future).name or "" for future in deadly.map(range(3))]

    one, two, three = job()
    assert two == "Crashed"
    assert {one, three} <= {"Completed", "Cached"}
