"""A copy of the project with a flow of its own, its commands that deploy, and what the server has then."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import WorkPool
from prefect.client.schemas.responses import DeploymentResponse

from {{ cookiecutter.package_name }}.durable.heartbeats import AUTOMATION
from {{ cookiecutter.package_name }}.durable.settings import PACKAGE, PROJECT, ROOT

FLOW = "load-probes"
MAKE = ["make", "--no-print-directory", "--old-file", ".venv/.ready", f"BIN={Path(sys.executable).parent}"]
"""The project's commands, in the environment that runs the tests."""
TIMEOUT = 60
"""Seconds for processes to end."""


def copy(folder: Path) -> Path:
    """Copy the project, and have `make flow` write a flow into the copy."""
    project = folder / "project"
    shutil.copytree(ROOT, project, ignore=shutil.ignore_patterns(".*", "var", "__pycache__"))
    done = make(project, "flow", "NAME=probes")
    assert done.returncode == 0, done.stdout + done.stderr
    return project


def environment_of(project: Path) -> dict[str, str]:
    """Return the environment in which the code of a copy counts, not that which is installed."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(project / "src"), *sys.path])}


def make(project: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Call one of the commands of a project."""
    environment = environment_of(project) | variables
    return subprocess.run(
        [*MAKE, *arguments], cwd=project, env=environment, capture_output=True, text=True, check=False
    )


@contextmanager
def deployed(project: Path, *arguments: str) -> Iterator[DeploymentResponse]:
    """Deploy, and yield what the server has then of the flow; leave nothing of it there."""
    done = make(project, "deploy", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    with get_client(sync_client=True) as client:
        try:
            yield client.read_deployment_by_name(f"{FLOW}/{FLOW}")
        finally:
            for deployment in client.read_deployments():
                if deployment.work_pool_name == PROJECT:
                    client.delete_deployment(deployment.id)
            client.delete_work_pool(PROJECT)
            for automation in client.read_automations_by_name(AUTOMATION):
                client.delete_automation(automation.id)


@contextmanager
def worker(project: Path) -> Iterator[Path]:
    """Have `make worker` run what is deployed, and yield its log; nothing of it or its runs is left behind."""
    log = project.with_suffix(".worker-log")
    with log.open("w") as output:
        process = subprocess.Popen(
            [*MAKE, "worker"],
            cwd=project,
            env=environment_of(project) | {"PREFECT_WORKER_QUERY_SECONDS": "1"},
            stdout=output,
            stderr=output,
            text=True,
            start_new_session=True,
        )
        try:
            yield log
            # A run outlives its end on the server, with what it still has to tell it, and its worker.
            left = [group for group in _groups() if not ends(group)]
        finally:
            stop(process)
            for group in _groups():
                with suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)
    assert not left, f"a run's process has not ended\n{log.read_text()}"


def _groups() -> list[int]:
    """Return the process groups of the deployments' runs: Prefect starts each run in a session of its own."""
    deployed_ones = FlowRunFilter.model_validate({"deployment_id": {"is_null_": False}})
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_run_filter=deployed_ones)
    places = [run.infrastructure_pid for run in runs if run.work_pool_name == PROJECT]
    # The process, maybe after the name of its machine and a colon.
    return [int(place.rpartition(":")[2]) for place in places if place]


def ends(group: int, timeout: float = TIMEOUT) -> bool:
    """Wait for the last process of a group; tell whether it has ended.

    Args:
        group: the id of the process that was started in a session of its own.
        timeout: seconds to wait.
    """
    deadline = time.monotonic() + timeout
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.1)
        return False
    return True


def stop(process: subprocess.Popen[str]) -> None:
    """End a process that was started in a session of its own, with all others of that session; none is left."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, number)
            process.wait(TIMEOUT)
    assert ends(process.pid), f"processes of {process.args!r} are left"


def program(folder: Path, name: str) -> dict[str, str]:
    """Put a program into a folder that does nothing, and well; return the environment that has it."""
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def pool() -> WorkPool:
    """The work pool of the deployment."""
    with get_client(sync_client=True) as client:
        return client.read_work_pool(PROJECT)


def assert_policies(project: Path, deployment: DeploymentResponse) -> None:
    """The flow can be imported, and what every deployment of it says has reached the server."""
    assert deployment.entrypoint == f"{PACKAGE}.flows.probes.flow.load_probes"
    script = f"from prefect.utilities.importtools import import_object as i; print(i({deployment.entrypoint!r}).name)"
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment_of(project), capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{FLOW}\n"
    assert deployment.tags == [PROJECT]
    assert deployment.parameters == {}
    assert deployment.global_concurrency_limit
    assert deployment.global_concurrency_limit.limit == 1
    assert deployment.concurrency_options
    assert deployment.concurrency_options.collision_strategy == "ENQUEUE"
    (schedule,) = deployment.schedules
    assert not schedule.active
    assert deployment.work_pool_name == PROJECT
