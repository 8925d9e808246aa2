"""The project's commands that deploy, and the deployment as the server then has it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect import get_client
from prefect.client.schemas.objects import WorkPool
from prefect.client.schemas.responses import DeploymentResponse
from prefect.utilities.importtools import import_object

from {{ cookiecutter.package_name }}.deployment import AUTOMATION
from {{ cookiecutter.package_name }}.settings import ROOT

NAME = "{{ cookiecutter.project_slug }}"
MAKE = ["make", "--no-print-directory", "--old-file", ".venv/.ready", f"BIN={Path(sys.executable).parent}"]
"""The project's commands, in the environment that runs the tests."""


def make(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Call one of them."""
    environment = os.environ | variables
    return subprocess.run([*MAKE, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@contextmanager
def deployed(*arguments: str) -> Iterator[DeploymentResponse]:
    """Deploy, and yield what the server has then; leave nothing of it there."""
    done = make("deploy", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(f"{NAME}/{NAME}")
        yield deployment
        client.delete_deployment(deployment.id)
        client.delete_work_pool(NAME)
        for automation in client.read_automations_by_name(AUTOMATION):
            client.delete_automation(automation.id)


def program(folder: Path, name: str) -> dict[str, str]:
    """Put a program into a folder that does nothing, and well; return the environment that has it."""
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def pool() -> WorkPool:
    """The work pool of the deployment."""
    with get_client(sync_client=True) as client:
        return client.read_work_pool(NAME)


def assert_policies(deployment: DeploymentResponse) -> None:
    """The flow can be imported, and what every deployment of it says has reached the server."""
    assert deployment.entrypoint
    assert import_object(deployment.entrypoint).name == NAME
    assert deployment.tags == [NAME]
    assert deployment.parameters == {}
    assert deployment.global_concurrency_limit
    assert deployment.global_concurrency_limit.limit == 1
    assert deployment.concurrency_options
    assert deployment.concurrency_options.collision_strategy == "ENQUEUE"
    (schedule,) = deployment.schedules
    assert not schedule.active
    assert deployment.work_pool_name == NAME
