"""The deployment as the server has it after `make deploy`, and the container that a worker would make of it."""

import asyncio
{%- if cookiecutter.upsert == "postgres" %}
import json
{%- endif %}
{%- if cookiecutter.result_storage != "local" %}
import os
{%- endif %}
from pathlib import Path
from typing import Any
{%- if cookiecutter.upsert == "postgres" %}
from uuid import uuid4
{%- endif %}

import pytest
from prefect import get_client
{%- if cookiecutter.upsert == "postgres" %}
from prefect.blocks.core import Block
{%- endif %}
from prefect_docker.worker import DockerWorkerJobConfiguration
{%- if cookiecutter.upsert == "postgres" %}

from {{ cookiecutter.package_name }}.deployment import DATABASE_BLOCK, DATABASE_VARIABLE
{%- endif %}

from deploying import NAME, assert_policies, deployed, make, pool, program
{%- if cookiecutter.result_storage != "local" or cookiecutter.upsert == "postgres" %}

PREFIX = "{{ cookiecutter.package_name | upper }}_"
{%- endif %}


@pytest.mark.usefixtures("api")
def test_deployment_makes_a_container({% if cookiecutter.upsert == "postgres" %}monkeypatch: pytest.MonkeyPatch{% endif %}) -> None:
{%- if cookiecutter.upsert == "postgres" %}
    password = uuid4().hex
    url = f"postgresql://loader:{password}@example.com/flights"
    monkeypatch.setenv(DATABASE_VARIABLE, url)
{%- endif %}
    with deployed("IMAGE=flights:7") as deployment:
        assert_policies(deployment)
        assert deployment.pull_steps == []
        assert pool().type == "docker"
        # A misspelt one would be passed over.
        template = pool().base_job_template
        assert template["job_configuration"].keys() <= DockerWorkerJobConfiguration.model_fields.keys()
        container = asyncio.run(configuration(deployment.job_variables))
{%- if cookiecutter.upsert == "postgres" %}
        # By name alone, in what everybody may read on the server.
        assert password not in json.dumps([deployment.job_variables, template])
    Block.delete(f"secret/{DATABASE_BLOCK}")
{%- endif %}
    assert container.image == "flights:7"
    assert container.image_pull_policy == "IfNotPresent"
    assert container.networks == [NAME]
    assert container.volumes == [f"{NAME}-var:/app/var"]
    assert container.auto_remove
    assert container.container_create_kwargs
    assert container.container_create_kwargs["cap_drop"] == ["ALL"]
{%- if cookiecutter.task_runner == "ray" %}
    # Its services take what is enough otherwise, and its processes share objects in /dev/shm.
    assert container.mem_limit == "2g"
    assert container.container_create_kwargs["shm_size"] == "512m"
{%- endif %}
{%- if cookiecutter.result_storage != "local" %}
    assert container.env[f"{PREFIX}RESULTS_BLOCK"] == os.environ[f"{PREFIX}RESULTS_BLOCK"]
{%- endif %}
{%- if cookiecutter.upsert == "postgres" %}
    assert container.env[f"{PREFIX}DATABASE_URL"] == url
{%- endif %}


async def configuration(job_variables: dict[str, Any] | None) -> DockerWorkerJobConfiguration:
    """Return what a worker makes of it, which looks secrets up."""
    async with get_client() as client:
        return await DockerWorkerJobConfiguration.from_template_and_values(
            pool().base_job_template, job_variables or {}, client=client
        )


@pytest.mark.parametrize("command", ["deploy", "worker"])
def test_without_a_server_is_said_what_to_do(tmp_path: Path, command: str) -> None:
    done = make(command, PREFECT_API_URL="http://127.0.0.1:9/api", **program(tmp_path, "docker"))
    assert done.returncode != 0
    assert "no Prefect server answers at http://127.0.0.1:9/api; start one with: make up" in done.stderr


@pytest.mark.parametrize("command", ["image", "up", "worker"])
def test_without_an_engine_is_said_what_to_do(command: str) -> None:
    done = make(command, DOCKER_HOST="tcp://127.0.0.1:9")
    assert done.returncode != 0
    assert done.stderr.startswith("no Docker engine answers; this says why: docker info\n")
