"""The deployment as the server has it after `make deploy`, and the container that a worker would make of it."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect import get_client
from prefect.blocks.core import Block
from prefect_docker.worker import DockerWorkerJobConfiguration

from {{ cookiecutter.package_name }}.durable import results, upserts
from {{ cookiecutter.package_name }}.durable.deployments import DATABASE_BLOCK, DATABASE_VARIABLE
from {{ cookiecutter.package_name }}.durable.runners import task_runner
from {{ cookiecutter.package_name }}.durable.settings import PREFIX, PROJECT, ROOT

from tests.support.deploying import assert_policies, copy, deployed, make, pool, program


@pytest.mark.slow
@pytest.mark.usefixtures("api")
def test_deployment_makes_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    password = uuid4().hex
    url = f"postgresql://loader:{password}@example.com/things"
    monkeypatch.setenv(DATABASE_VARIABLE, url)
    project = copy(tmp_path)
    with deployed(project, "IMAGE=things:7") as deployment:
        assert_policies(project, deployment)
        assert deployment.pull_steps == []
        assert pool().type == "docker"
        # A misspelt one would be passed over.
        template = pool().base_job_template
        assert template["job_configuration"].keys() <= DockerWorkerJobConfiguration.model_fields.keys()
        container = asyncio.run(configuration(deployment.job_variables))
        # By name alone, in what everybody may read on the server.
        assert password not in json.dumps([deployment.job_variables, template])
    assert container.image == "things:7"
    assert container.image_pull_policy == "IfNotPresent"
    assert container.networks == [PROJECT]
    assert container.volumes == [f"{PROJECT}-var:/app/var"]
    assert container.auto_remove
    assert container.container_create_kwargs
    assert container.container_create_kwargs["cap_drop"] == ["ALL"]
    if type(task_runner()).__name__ == "RayTaskRunner":
        # Its services take what is enough otherwise, and its processes share objects in /dev/shm.
        assert container.mem_limit == "2g"
        assert container.container_create_kwargs["shm_size"] == "512m"
    if results.NEEDS_SERVER:
        assert container.env[f"{PREFIX}RESULTS_BLOCK"] == os.environ[f"{PREFIX}RESULTS_BLOCK"]
    if upserts.CONTAINER_URL:
        assert container.env[f"{PREFIX}DATABASE_URL"] == url
        Block.delete(f"secret/{DATABASE_BLOCK}")


async def configuration(job_variables: dict[str, Any] | None) -> DockerWorkerJobConfiguration:
    """Return what a worker makes of it, which looks secrets up."""
    async with get_client() as client:
        return await DockerWorkerJobConfiguration.from_template_and_values(
            pool().base_job_template, job_variables or {}, client=client
        )


@pytest.mark.slow
@pytest.mark.parametrize("command", ["deploy", "worker"])
def test_without_a_server_is_said_what_to_do(tmp_path: Path, command: str) -> None:
    done = make(ROOT, command, PREFECT_API_URL="http://127.0.0.1:9/api", **program(tmp_path, "docker"))
    assert done.returncode != 0
    assert "no Prefect server answers at PREFECT_API_URL=http://127.0.0.1:9/api" in done.stderr
    assert "start one with: make up" in done.stderr


@pytest.mark.parametrize("command", ["image", "up", "worker"])
def test_without_an_engine_is_said_what_to_do(command: str) -> None:
    done = make(ROOT, command, DOCKER_HOST="tcp://127.0.0.1:9")
    assert done.returncode != 0
    assert done.stderr.startswith("no Docker engine answers; this says why: docker info\n")
