"""The deployment, for real: `make deploy` puts it on a server, a worker of `make worker` runs it to its end."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from prefect import get_client
from prefect.client.schemas.objects import State

from {{ cookiecutter.package_name }}.settings import ROOT

from source import days

NAME = "{{ cookiecutter.project_slug }}/{{ cookiecutter.project_slug }}"
MAKE = ["make", "--no-print-directory", "--old-file", ".venv/.ready", f"BIN={Path(sys.executable).parent}"]
"""The project's commands, in the environment that runs the tests."""


def test_deployment_names_the_flow_and_its_pool() -> None:
    (deployment,) = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert deployment["entrypoint"] == "{{ cookiecutter.package_name }}.flows.load_flights"
    assert deployment["work_pool"]["name"] == "{{ cookiecutter.project_slug }}"


@pytest.mark.usefixtures("api")
def test_worker_runs_what_was_deployed(tmp_path: Path) -> None:
    environment = os.environ | {"PREFECT_WORKER_QUERY_SECONDS": "1"}
    log = tmp_path / "log"
    with log.open("w") as output:
        subprocess.run([*MAKE, "deploy"], cwd=ROOT, env=environment, stdout=output, stderr=output, check=True)
        worker = subprocess.Popen(
            [*MAKE, "worker"], cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            state = run_deployment(days(tmp_path / "f.csv", 2))
        finally:
            os.killpg(worker.pid, signal.SIGTERM)
            worker.wait(30)
            # A worker that was started where SIGINT is ignored stays, and would take the runs of later tests.
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
    assert state is not None
    assert state.is_completed(), f"{state}\n{log.read_text()}"


def run_deployment(source: Path) -> State | None:
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(NAME)
        run = client.create_flow_run_from_deployment(deployment.id, parameters={"source": str(source)})
        deadline = time.monotonic() + 120
        while not (run.state and run.state.is_final()) and time.monotonic() < deadline:
            time.sleep(0.5)
            run = client.read_flow_run(run.id)
        return run.state


def test_deploying_without_a_server_says_what_to_do() -> None:
    environment = os.environ | {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
    deploy = subprocess.run([*MAKE, "deploy"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert deploy.returncode != 0
    assert "no Prefect server answers at http://127.0.0.1:9/api; start one with: make ui" in deploy.stderr
