"""Taking up flow runs whose process was killed: Prefect leaves them Running for ever, and retries only ended ones."""

import sys
from collections.abc import Callable
from typing import Any
from uuid import UUID

from filelock import FileLock, Timeout
from prefect import State, get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound
from prefect.flow_engine import run_flow
from prefect.states import Crashed, Scheduled

from .flows import RunReport, load_flights
from .runs import dead, forget
from .server import where
from .settings import settings


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
    crashed: State[Any] = Crashed(message="The process of this run was killed.")
    client.set_flow_run_state(flow_run_id, crashed, force=True)
    client.set_flow_run_state(flow_run_id, Scheduled(message="Resumed."), force=True)
    if flow_run.deployment_id:
        forget(flow_run_id)
        print(f"Flow run {flow_run.name} is scheduled; a worker will take it up.")
        return True
    print(f"Resuming flow run {flow_run.name}.")
    state: Any = run_flow(
        load_flights,
        flow_run=client.read_flow_run(flow_run_id),
        parameters=load_flights.validate_parameters(flow_run.parameters),
        return_type="state",
    )
    if not state.is_completed():
        print(f"Flow run {flow_run.name} ended {state.name}: {state.message}", file=sys.stderr)
        print(where(flow_run_id), file=sys.stderr)
        return False
    show(state.result())
    print(where(flow_run_id))
    return True
