"""The deployment, for real: `make deploy` puts it on a server, a worker of `make worker` runs it to its end."""

import shutil
import time
from pathlib import Path
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.schemas.objects import State

from {{ cookiecutter.package_name }}.durable.settings import ROOT

from tests.support.deploying import assert_policies, copy, deployed, make, pool, worker


@pytest.mark.slow
@pytest.mark.usefixtures("api")
def test_worker_runs_what_was_deployed(tmp_path: Path) -> None:
    """In another folder than it was deployed from, with a source whose name is relative to that."""
    project = copy(tmp_path)
    elsewhere = shutil.copytree(project, tmp_path / "elsewhere")
    (elsewhere / "data" / "probes").rename(elsewhere / "data" / "others")
    with deployed(project) as deployment:
        assert_policies(project, deployment)
        assert pool().type == "process"
        with worker(elsewhere) as log:
            state = run(deployment.id, {"folder": "data/others"})
            # A worker that polls, a killed process, and a run that is resumed in a new one.
            drill = make(project, "doctor", "DEEP=1")
    assert state is not None
    assert state.is_completed(), f"{state}\n{log.read_text()}"
    assert "ok    crash drill: a run was Crashed" in drill.stdout, f"{drill.stdout}\n{log.read_text()}"


def run(deployment_id: UUID, parameters: dict[str, object]) -> State | None:
    with get_client(sync_client=True) as client:
        run = client.create_flow_run_from_deployment(deployment_id, parameters=parameters)
        deadline = time.monotonic() + 300
        while not (run.state and run.state.is_final()) and time.monotonic() < deadline:
            time.sleep(0.5)
            run = client.read_flow_run(run.id)
        return run.state


@pytest.mark.slow
@pytest.mark.parametrize("command", ["deploy", "worker"])
def test_without_a_server_is_said_what_to_do(command: str) -> None:
    done = make(ROOT, command, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert done.returncode != 0
    assert "no Prefect server answers at PREFECT_API_URL=http://127.0.0.1:9/api" in done.stderr
    assert "start one with: make ui" in done.stderr
