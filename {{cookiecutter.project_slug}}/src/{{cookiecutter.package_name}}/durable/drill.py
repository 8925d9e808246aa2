"""The crash drill of `make doctor DEEP=1`: kill the process of a deployed run, and check that the run resumes.

The drill deploys a flow of two chunks beside the project's own, in their work pool. The flow kills its process after
the first chunk. Then the server must mark the run Crashed, and a worker must resume it in a new process, which must
skip the first chunk.
"""

import os
import signal
import time
from dataclasses import dataclass
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import ArtifactFilter, FlowFilter
from prefect.client.schemas.objects import FlowRun
from prefect.runtime import flow_run

from . import discovery, upserts
from .chunks import RESUMES, Counts, RunReport, run_chunks
from .errors import RunFailedError, one_line
from .flows import durable_flow
from .resume import Resuming
from .server import where
from .settings import PACKAGE, PROJECT
from .steps import Step, checkpoint, full_name
from .tasks import durable_task

FLOW = "crash-drill"
WAIT = 300.0
"""Seconds for a worker to run the flow until its process is killed, and again for a worker to resume it."""


@dataclass(frozen=True)
class Part:
    """An empty chunk."""

    key: str

    @property
    def label(self) -> str:
        return self.key


PARTS = [Part("before the kill"), Part("after the kill")]


@durable_task(version="1")
def do(part: Part, step: Step) -> Counts | None:
    """Do nothing, and write the checkpoint."""
    with step as connection:
        return None if connection is None else {"parts": 1}


@durable_flow(name=FLOW)
def crash_drill() -> RunReport:
    """Do one chunk and kill this process; in the next process, run both chunks.

    Raises:
        RunFailedError: the next process does not skip the finished chunk.
    """
    job = str(flow_run.id)
    if flow_run.run_count == 1:
        run_chunks(do, PARTS[:1], job=job)
        os.kill(os.getpid(), signal.SIGKILL)
    report = run_chunks(do, PARTS, job=job)
    checkpoint(full_name(FLOW, job), upserts.epoch()).reset()
    if RESUMES and not report["skipped"]:
        raise RunFailedError(
            "a resumed run does not find what is done: give all workers one database, store and home that outlive a run"
        )
    return report


def hold(client: SyncPrefectClient) -> str:
    """Run the drill: deploy the flow, wait for the crash, resume the run, and remove everything from the server.

    If something is wrong, the run stays there with its log.

    Returns:
        A line with the times that it took.

    Raises:
        RunFailedError: something is wrong. The message says what, and what to do.
    """
    deployment_id = _deploy(client)
    try:
        began = time.monotonic()
        run = client.create_flow_run_from_deployment(deployment_id)
        run = _ended(client, run.id, "was not run and killed")
        killed = time.monotonic()
        if not (run.state and run.state.is_crashed() and run.run_count):
            raise RunFailedError(_unexpected(run, "be Crashed by the kill of its process"))
        Resuming(client, {FLOW: crash_drill}, print).schedule(run)
        run = _ended(client, run.id, "was not resumed")
        if not (run.state and run.state.is_completed()):
            raise RunFailedError(_unexpected(run, "complete in a new process"))
        of_run = ArtifactFilter.model_validate({"flow_run_id": {"any_": [run.id]}})
        for artifact in client.read_artifacts(artifact_filter=of_run):
            client.delete_artifact(artifact.id)
        client.delete_flow_run(run.id)
    finally:
        client.delete_deployment(deployment_id)
    resumed = time.monotonic() - killed
    return f"a run was Crashed {killed - began:.0f} s after it was asked for, and Completed {resumed:.0f} s later"


def _deploy(client: SyncPrefectClient) -> UUID:
    """Deploy the drill like a flow of the project: with its work pool, image, variables and pull steps."""
    ours = FlowFilter.model_validate({"name": {"any_": list(discovery.flows())}})
    # Flows of other projects may have the same names.
    known = client.read_deployments(flow_filter=ours)
    like = next((each for each in known if (each.entrypoint or "").startswith(f"{PACKAGE}.")), None)
    if not like:
        raise RunFailedError("no flow of this project is deployed, and so no drill like it can be; deploy: make deploy")
    return client.create_deployment(
        client.create_flow_from_name(FLOW),
        PROJECT,
        entrypoint=f"{__name__}.{crash_drill.fn.__name__}",
        path=like.path,
        pull_steps=like.pull_steps,
        work_pool_name=like.work_pool_name,
        work_queue_name=like.work_queue_name,
        job_variables=like.job_variables,
    )


def _ended(client: SyncPrefectClient, flow_run_id: UUID, otherwise: str) -> FlowRun:
    deadline = time.monotonic() + WAIT
    while not ((run := client.read_flow_run(flow_run_id)).state and run.state.is_final()):
        if time.monotonic() > deadline:
            late = f"a run {otherwise} within {WAIT:.0f} s, and is {run.state_name}"
            raise RunFailedError(f"{late}; read the worker's log; {where(run.id)}")
        time.sleep(1)
    return run


def _unexpected(run: FlowRun, wanted: str) -> str:
    message = one_line(run.state.message or "") if run.state else ""
    return f"a run was to {wanted}, and is {run.state_name} ({message}); read its log; {where(run.id)}"
