"""Taking up flow runs whose process was killed: Prefect leaves them Running for ever, and retries only ended ones.

Those of this machine are known by their file locks (`runs.py`). Those of a deployment may have died elsewhere; a worker
that saw it, or the automation of `deployment.py`, has put them to Crashed on the server.
"""

import sys
from collections.abc import Callable
from typing import Any
from uuid import UUID

from filelock import FileLock, Timeout
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowFilter, FlowRunFilter, TaskRunFilter
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.flow_engine import run_flow
from prefect.states import Crashed, Scheduled

from .flows import RunReport, load_flights
from .runs import dead, forget
from .server import where
from .settings import settings

KILLED = "The process of this run was killed."


def resume_dead_runs(show: Callable[[RunReport], None]) -> bool:
    """Put each dead run to Crashed and retry it: here, or by a worker where it belongs to a deployment.

    Args:
        show: is called with the report of each run that was finished here.

    Returns:
        Whether all of them are finished or scheduled.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(settings.home / "resume.lock", timeout=0), get_client(sync_client=True) as client:
            resumed = [_resume(client, flow_run_id, show) for flow_run_id in dead()]
            resumed += [_schedule(client, flow_run) for flow_run in _crashed(client)]
    except Timeout:
        print("Another process is resuming.", file=sys.stderr)
        return False
    if not resumed:
        print("Nothing to resume: no run was killed.")
    return all(resumed)


def _resume(client: SyncPrefectClient, flow_run_id: UUID, show: Callable[[RunReport], None]) -> bool:
    try:
        flow_run = client.read_flow_run(flow_run_id)
    except ObjectNotFound:
        print(f"Flow run {flow_run_id} is not known to {client.api_url}; forgotten.", file=sys.stderr)
        forget(flow_run_id)
        return True
    if flow_run.deployment_id:
        forget(flow_run_id)
        # Unless it has been taken up elsewhere meanwhile.
        at_work = flow_run.state and (flow_run.state.is_running() or flow_run.state.is_crashed())
        return _schedule(client, flow_run) if at_work else True
    _requeue(client, flow_run)
    print(f"Resuming flow run {flow_run.name}.")
    state: Any = run_flow(
        load_flights,
        flow_run=client.read_flow_run(flow_run_id),
        parameters=load_flights.validate_parameters(flow_run.parameters),
        return_type="state",
    )
    # A busy server may have read only now which tasks the killed process had begun.
    _end_tasks(client, flow_run, ["RUNNING"])
    if not state.is_completed():
        print(f"Flow run {flow_run.name} ended {state.name}: {state.message}", file=sys.stderr)
        print(where(flow_run_id), file=sys.stderr)
        return False
    show(state.result())
    print(where(flow_run_id))
    return True


def _crashed(client: SyncPrefectClient) -> list[FlowRun]:
    """Return the runs of deployments of the flow that the server has as crashed, oldest first."""
    flow = FlowFilter.model_validate({"name": {"any_": [load_flights.name]}})
    crashed = {"state": {"type": {"any_": ["CRASHED"]}}, "deployment_id": {"is_null_": False}}
    runs = FlowRunFilter.model_validate(crashed)
    return client.read_flow_runs(flow_filter=flow, flow_run_filter=runs, sort=FlowRunSort.START_TIME_ASC)


def _schedule(client: SyncPrefectClient, flow_run: FlowRun) -> bool:
    _requeue(client, flow_run)
    print(f"Flow run {flow_run.name} is scheduled; a worker will take it up.")
    return True


def _requeue(client: SyncPrefectClient, flow_run: FlowRun) -> None:
    _end_tasks(client, flow_run, ["PENDING", "RUNNING"])
    client.set_flow_run_state(flow_run.id, Crashed(message=KILLED), force=True)
    client.set_flow_run_state(flow_run.id, Scheduled(message="Resumed."), force=True)


def _end_tasks(client: SyncPrefectClient, killed: FlowRun, states: list[str]) -> None:
    """Put the tasks to Crashed that are in these states since the attempt of a flow run that was killed."""
    run = FlowRunFilter.model_validate({"id": {"any_": [killed.id]}})
    there = TaskRunFilter.model_validate({"state": {"type": {"any_": states}}})
    found: list[TaskRun] = []
    while page := client.read_task_runs(flow_run_filter=run, task_run_filter=there, offset=len(found)):
        found += page
    for task_run in found:
        if task_run.flow_run_run_count <= killed.run_count:
            client.set_task_run_state(task_run.id, Crashed(message=KILLED), force=True)
