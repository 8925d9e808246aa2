"""The deployment as the server has it after `make deploy`, and the job that a worker would make of it."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect import get_client
from prefect.client.schemas.objects import FlowRun
from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

from {{ cookiecutter.package_name }}.durable.rejects import SHOWN
from {{ cookiecutter.package_name }}.durable.runners import task_runner
from {{ cookiecutter.package_name }}.durable.settings import PREFIX, PROJECT, ROOT

from tests.support.deploying import assert_policies, copy, deployed, make, pool, program
from tests.support.toy import load_toys
from tests.support.toys import FLOW, write

IMAGE = "registry.example.com/things:7"


@pytest.mark.slow
@pytest.mark.usefixtures("api")
def test_deployment_makes_a_job(tmp_path: Path) -> None:
    project = copy(tmp_path)
    with deployed(project, f"IMAGE={IMAGE}") as deployment:
        assert_policies(project, deployment)
        assert deployment.pull_steps == []
        assert pool().type == "kubernetes"
        # A misspelt one would be passed over.
        template = pool().base_job_template
        assert template["job_configuration"].keys() <= KubernetesWorkerJobConfiguration.model_fields.keys()
        job = asyncio.run(manifest(deployment.job_variables))
    # A pod that is evicted has its run scheduled again by Prefect; Kubernetes would start it beside that.
    assert job["spec"]["backoffLimit"] == 0
    pod = job["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["securityContext"]["runAsNonRoot"]
    assert [list(volume) for volume in pod["volumes"]] == [["name", "emptyDir"]] * 2
    (container,) = pod["containers"]
    assert container["image"] == IMAGE
    assert container["args"]
    assert container["resources"]["requests"].keys() == container["resources"]["limits"].keys() == {"cpu", "memory"}
    if type(task_runner()).__name__ == "RayTaskRunner":
        # Its services take what is enough otherwise.
        assert container["resources"]["requests"]["memory"] == "1Gi"
        assert container["resources"]["limits"]["memory"] == "2Gi"
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    assert container["envFrom"][0]["secretRef"]["name"] == PROJECT
    environment = {variable["name"]: variable["value"] for variable in container["env"]}
    assert environment["PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"] == "reschedule"
    block = f"{PREFIX}RESULTS_BLOCK"
    assert environment[block] == os.environ[block]


@pytest.mark.usefixtures("api")
def test_rejected_records_outlive_the_pod(tmp_path: Path) -> None:
    path = write(tmp_path / "f.txt", "a x 1", *["b nonsense"] * (SHOWN + 1))
    state = load_toys(path, return_state=True)
    with get_client(sync_client=True) as client:
        of_run = {"flow_run_id": {"any_": [str(state.state_details.flow_run_id)]}, "key": {"any_": [f"{FLOW}-rejects"]}}
        (artifact,) = client.request("POST", "/artifacts/filter", json={"artifacts": of_run}).json()
    rows = json.loads(artifact["data"])
    assert (rows[0]["place"], rows[0]["record"], len(rows)) == (0, "b nonsense", SHOWN)
    first = f"of which these are the first {SHOWN}"
    assert artifact["description"] == f"{FLOW}/f, b: {SHOWN + 1} rejected records, {first}"


async def manifest(job_variables: dict[str, Any] | None) -> dict[str, Any]:
    """Return what a worker makes of it for a run."""
    async with get_client() as client:
        configuration = await KubernetesWorkerJobConfiguration.from_template_and_values(
            pool().base_job_template, job_variables or {}, client=client
        )
    configuration.prepare_for_flow_run(FlowRun(flow_id=uuid4(), name="a-run"))
    job: dict[str, Any] = configuration.job_manifest
    return job


@pytest.mark.slow
@pytest.mark.parametrize("command", ["deploy", "worker"])
def test_without_a_server_is_said_what_to_do(tmp_path: Path, command: str) -> None:
    variables = {"PREFECT_API_URL": "http://127.0.0.1:9/api", **program(tmp_path, "kubectl")}
    done = make(ROOT, command, f"IMAGE={IMAGE}", **variables)
    assert done.returncode != 0
    assert "no Prefect server answers at PREFECT_API_URL=http://127.0.0.1:9/api" in done.stderr
    assert "start one with: make ui" in done.stderr


def test_without_an_engine_is_said_what_to_do() -> None:
    done = make(ROOT, "image", f"IMAGE={IMAGE}", DOCKER_HOST="tcp://127.0.0.1:9")
    assert done.returncode != 0
    assert done.stderr.startswith("no Docker engine answers; this says why: docker info\n")


def test_without_a_cluster_is_said_what_to_do(tmp_path: Path) -> None:
    done = make(ROOT, "worker", KUBECONFIG=str(tmp_path / "none"))
    assert done.returncode != 0
    assert done.stderr.startswith("no Kubernetes cluster answers; this says why: kubectl get --raw /readyz\n")


@pytest.mark.parametrize("command", ["image", "deploy"])
def test_without_a_name_of_the_image_is_said_what_to_do(command: str) -> None:
    done = make(ROOT, command)
    assert done.returncode != 0
    assert done.stderr.startswith("say which image: IMAGE=registry/name:tag\n")
