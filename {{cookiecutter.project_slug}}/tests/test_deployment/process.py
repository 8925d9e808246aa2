"""The deployment, for real: `make deploy` puts it on a server, a worker of `make worker` runs it to its end."""

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.schemas.objects import State

from {{ cookiecutter.package_name }}.settings import ROOT

from deploying import MAKE, assert_policies, deployed, make, pool
from source import days


@pytest.mark.usefixtures("api")
def test_worker_runs_what_was_deployed(tmp_path: Path) -> None:
    """In another folder than it was deployed from, with a source whose name is relative to that."""
    project = tmp_path / "elsewhere"
    shutil.copytree(ROOT, project, ignore=shutil.ignore_patterns(".*", "tests", "var"))
    days(project / "data" / "f.csv", 2)
    # The code of that folder, not that which is installed here.
    environment = os.environ | {"PREFECT_WORKER_QUERY_SECONDS": "1", "PYTHONPATH": str(project / "src")}
    log = tmp_path / "log"
    with deployed() as deployment, log.open("w") as output:
        assert_policies(deployment)
        assert pool().type == "process"
        worker = subprocess.Popen(
            [*MAKE, "--directory", project, "worker"],
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            state = run(deployment.id, "data/f.csv")
        finally:
            os.killpg(worker.pid, signal.SIGTERM)
            worker.wait(30)
            # A worker that was started where SIGINT is ignored stays, and would take the runs of later tests.
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
    assert state is not None
    assert state.is_completed(), f"{state}\n{log.read_text()}"


def run(deployment_id: UUID, source: str) -> State | None:
    with get_client(sync_client=True) as client:
        run = client.create_flow_run_from_deployment(deployment_id, parameters={"source": source})
        deadline = time.monotonic() + 120
        while not (run.state and run.state.is_final()) and time.monotonic() < deadline:
            time.sleep(0.5)
            run = client.read_flow_run(run.id)
        return run.state


@pytest.mark.parametrize("command", ["deploy", "worker"])
def test_without_a_server_is_said_what_to_do(command: str) -> None:
    done = make(command, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert done.returncode != 0
    assert "no Prefect server answers at http://127.0.0.1:9/api; start one with: make ui" in done.stderr
