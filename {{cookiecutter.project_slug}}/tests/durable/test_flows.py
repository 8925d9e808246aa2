"""Durable flows: called from anywhere, with or without a server, and ended by SIGTERM."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prefect.settings import (
    PREFECT_RESULTS_DEFAULT_STORAGE_BLOCK,
    PREFECT_RESULTS_PERSIST_BY_DEFAULT,
    temporary_settings,
)

from {{ cookiecutter.package_name }}.durable import Step, durable_flow, upserts
from {{ cookiecutter.package_name }}.durable.flows import DurableFlow, all_done
from {{ cookiecutter.package_name }}.durable.resume import resume_dead_runs
from {{ cookiecutter.package_name }}.durable.runs import dead
from {{ cookiecutter.package_name }}.durable.settings import ROOT, settings

from tests.support import sink
from tests.support.prefect_home import prepared
from tests.support.toy import load_toys, load_toys_of, table
from tests.support.toys import FLOW, chunks, expected, hold, read

SCRIPT = """
import sys
from pathlib import Path

from tests.support.toy import load_toys

if __name__ == "__main__":
    report = load_toys(Path(sys.argv[1]))
    print(report["chunks"], report["done"])
"""
COMMAND_LINE = """
from tests.support import toys
from {{ cookiecutter.package_name }}.durable.cli import main

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("name", ["", "Orders", "load orders", "load--orders", "-orders", "é", "a" * 81])
def test_name_that_artifacts_cannot_have_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name of a flow"):
        durable_flow(name=name)


def test_asynchronous_function_is_refused() -> None:
    async def load() -> None: ...

    with pytest.raises(TypeError, match="flow load-orders: a durable flow is a plain function"):
        durable_flow(name="load-orders")(load)


def test_flow_with_other_options_brings_its_own_server_too() -> None:
    other = load_toys.with_options(retries=3)
    assert (other.retries, type(other)) == (3, DurableFlow)


def test_look_for_work_calls_no_task_and_prints_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    began = []

    @durable_flow(name="load-orders")
    def load_orders() -> str:
        began.append(1)
        print("orders")
        (chunk,) = read(chunks(tmp_path / "f.txt", 1))
        load_toys_of(chunk, Step("job", chunk.key, "", chunk.label))
        return "done"

    assert all_done(load_orders, {}) is None, "whether a task has something to do is not known"
    assert began == [1]
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_flow_is_called_from_a_script_without_a_server(tmp_path: Path) -> None:
    path = chunks(tmp_path / "f.txt", 3)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    environment |= {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), **prepared(tmp_path / "prefect")}
    sink.release()
    done = subprocess.run(
        [sys.executable, script, path], env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert (done.returncode, done.stdout) == (0, "3 3\n"), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("api")
def test_run_that_is_stopped_by_sigterm_can_be_resumed(tmp_path: Path) -> None:
    path = chunks(tmp_path / "f.txt", 3)
    held = hold(path, "02")
    script = tmp_path / "run.py"
    script.write_text(COMMAND_LINE)
    command = [sys.executable, str(script), "run", FLOW, str(path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    sink.release()
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as run:
        while not list((settings.home / "runs").glob("*.run")):
            assert run.poll() is None
            time.sleep(0.05)
        time.sleep(1)
        run.terminate()
        time.sleep(0.2)
        held.unlink()
        _, said = run.communicate(timeout=100)
    assert run.returncode == -signal.SIGTERM
    assert said.startswith(f"{FLOW} was stopped by SIGTERM; `make resume` goes on where it stopped\n")
    ((_, name),) = dead()
    assert name == FLOW
    assert resume_dead_runs(lambda _: None)
    if upserts.WRITES:
        assert table() == expected(path)
    assert load_toys(path)["chunks"] == 3


@pytest.mark.usefixtures("api")
def test_traceback_of_a_failed_flow_shows_its_error_alone() -> None:
    @durable_flow(name="load-nothing")
    def load_nothing() -> None:
        raise OSError("no such source")

    with pytest.raises(OSError, match="no such source") as raised:
        load_nothing()
    assert raised.value.__context__ is None
    assert raised.value.__cause__ is None


@pytest.mark.usefixtures("api")
def test_flow_is_called_where_an_event_loop_runs_as_in_a_notebook(tmp_path: Path) -> None:
    async def cell() -> int:
        return load_toys(chunks(tmp_path / "toys", 2))["done"]

    assert asyncio.run(cell()) == 2


@pytest.mark.usefixtures("api")
def test_store_of_other_projects_in_the_users_settings_does_not_matter(tmp_path: Path) -> None:
    elsewhere = {
        PREFECT_RESULTS_DEFAULT_STORAGE_BLOCK: "local-file-system/of-others",
        PREFECT_RESULTS_PERSIST_BY_DEFAULT: True,
    }
    with temporary_settings(elsewhere):
        report = load_toys(chunks(tmp_path / "toys", 2))
    assert report["done"] == report["chunks"] > 0
