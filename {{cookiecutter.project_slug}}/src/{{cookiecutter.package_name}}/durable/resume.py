"""Resuming of killed flow runs: Prefect 3.9 leaves them Running forever, and retries only runs that have ended.

File locks tell which runs of this machine were killed (`runs.py`). Runs of a deployment may have died elsewhere: a
worker that saw it, or the automation of `heartbeats.py`, has marked them Crashed on the server. Only its own flow
resumes a run, and a run that a person has ended (Cancelled, Failed, Completed) stays so.
"""

import inspect
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
from filelock import FileLock, Timeout
from prefect import Flow, get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowFilter, FlowRunFilter, TaskRunFilter
from prefect.client.schemas.objects import FlowRun, State, TaskRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events.filters import EventFilter
from prefect.exceptions import ObjectNotFound, ParameterTypeError
from prefect.flow_engine import run_flow
from prefect.states import Crashed, Scheduled

from .discovery import flows, told
from .errors import one_line
from .runs import dead, forget
from .server import where
from .settings import settings

KILLED = "The process of this run was killed."
FIRST_REPORT = "Process exited with status code"
"""The start of a worker's first report of a killed process; it reports again after the hooks of `on_crashed`."""
EXECUTED = "prefect.worker.executed-flow-run"
"""The event that a worker sends when it has finished all work for a run."""
REPORTS = 30.0
"""Seconds after the first report within which the second one comes. It would end a run scheduled before it."""
DEATH = 5.0
"""Seconds within which a worker reports the death of a process on its machine."""


def resume_dead_runs(show: Callable[[Any], None]) -> bool:
    """Mark each killed run Crashed and retry it: here, or by a worker if it belongs to a deployment.

    Args:
        show: called with the result of each run that completed here.

    Returns:
        Whether all of them are completed, scheduled or forgotten. A run stays, with a message, if its flow is gone or
        no longer takes its parameters.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(settings.home / "resume.lock", timeout=0), get_client(sync_client=True) as client:
            resuming = Resuming(client, flows(), show)
            resumed = [resuming.resume(run.id) for run in dead()]
            resumed += [resuming.schedule(flow_run) for flow_run in resuming.crashed()]
    except Timeout:
        print("Another process is resuming.", file=sys.stderr)
        return False
    if not resumed:
        print("Nothing to resume: no run was killed.")
    return all(resumed)


class Resuming:
    """Resume runs of one Prefect server with the flows of this project."""

    def __init__(
        self, client: SyncPrefectClient, known: Mapping[str, Flow[Any, Any]], show: Callable[[Any], None]
    ) -> None:
        self.client = client
        self.known = known
        self.show = show

    def resume(self, flow_run_id: UUID) -> bool:
        """Resume a run that was killed on this machine; return whether it is settled."""
        try:
            flow_run = self.client.read_flow_run(flow_run_id)
        except ObjectNotFound:
            print(f"Flow run {flow_run_id} is not known to {self.client.api_url}; forgotten.", file=sys.stderr)
            forget(flow_run_id)
            return True
        state = flow_run.state
        # A person ended it: a killed process leaves its run Running, which Prefect turns into Crashed.
        if state and (state.is_cancelling() or (state.is_final() and not state.is_crashed())):
            print(f"Flow run {flow_run.name} is {state.name}; it stays so.")
            forget(flow_run_id)
            return True
        if flow_run.deployment_id:
            settled = self.schedule(flow_run)
            forget(flow_run_id)
            return settled
        name = self.client.read_flow(flow_run.flow_id).name
        if reason := self._misfit(name, flow_run):
            print(f"Flow run {flow_run.name} is left: {reason}.", file=sys.stderr)
            return False
        flow = self.known[name]
        self._requeue(flow_run)
        print(f"Resuming flow run {flow_run.name} of {name}.")
        ended: Any = run_flow(
            flow,
            flow_run=self.client.read_flow_run(flow_run_id),
            parameters=flow.validate_parameters(flow_run.parameters),
            return_type="state",
        )
        # A busy server may have recorded tasks of the killed process only after the requeue.
        self._end_tasks(flow_run, ["RUNNING"])
        if not ended.is_completed():
            error = ended.result(raise_on_failure=False)
            said = told(error) if isinstance(error, Exception) else one_line(ended.message)
            print(f"Flow run {flow_run.name} ended {ended.name}: {said}", file=sys.stderr)
            print(where(flow_run_id), file=sys.stderr)
            return False
        self.show(ended.result())
        print(where(flow_run_id))
        return True

    def _misfit(self, name: str, flow_run: FlowRun) -> str:
        """Return why no flow of this project can resume a run, or an empty text if one can."""
        if name not in self.known:
            forget = f"make reset JOB={name}/{flow_run.name}"
            return f"this project has no flow {name}; give the flow its old name back, or forget the run: {forget}"
        flow = self.known[name]
        try:
            inspect.signature(flow.fn).bind(**flow_run.parameters)
            flow.validate_parameters(flow_run.parameters)
        except (ParameterTypeError, TypeError, ValueError) as error:
            return f"{name} does not take its parameters any more ({str(error).splitlines()[0]})"
        return ""

    def crashed(self) -> list[FlowRun]:
        """Return the Crashed runs of the project's deployments on the server, oldest first."""
        if not self.known:
            return []
        flow = FlowFilter.model_validate({"name": {"any_": list(self.known)}})
        crashed = {"state": {"type": {"any_": ["CRASHED"]}}, "deployment_id": {"is_null_": False}}
        runs = FlowRunFilter.model_validate(crashed)
        return self.client.read_flow_runs(flow_filter=flow, flow_run_filter=runs, sort=FlowRunSort.START_TIME_ASC)

    def schedule(self, flow_run: FlowRun) -> bool:
        """Schedule a run of a deployment for a worker to resume, unless it has been resumed elsewhere."""
        flow_run = self._reported(flow_run)
        if not (flow_run.state and (flow_run.state.is_running() or flow_run.state.is_crashed())):
            return True
        self._requeue(flow_run)
        print(f"Flow run {flow_run.name} is scheduled; a worker will resume it.")
        return True

    def _reported(self, flow_run: FlowRun) -> FlowRun:
        """Wait for a worker's last report about a killed run, and return the run."""
        seen = time.monotonic()
        while flow_run.state and self._has_more_to_come(flow_run, flow_run.state, time.monotonic() - seen):
            time.sleep(0.5)
            flow_run = self.client.read_flow_run(flow_run.id)
        return flow_run

    def _has_more_to_come(self, flow_run: FlowRun, state: State, waited: float) -> bool:
        """Tell whether a worker may still report about a run, after the given seconds of waiting."""
        if state.is_running():
            return waited < DEATH
        if not (state.is_crashed() and (state.message or "").startswith(FIRST_REPORT)):
            return False
        if (datetime.now(UTC) - state.timestamp).total_seconds() >= REPORTS:
            return False
        done = EventFilter.model_validate(
            {
                "event": {"name": [EXECUTED]},
                "related": {"id": [f"prefect.flow-run.{flow_run.id}"]},
                "occurred": {"since": state.timestamp},
            }
        )
        try:
            return not self.client.read_events(done, limit=1).events
        except httpx.HTTPStatusError:
            # The server does not serve events.
            return True

    def _requeue(self, flow_run: FlowRun) -> None:
        self._end_tasks(flow_run, ["PENDING", "RUNNING"])
        # Not if it is Crashed already: people get an alert for each crash.
        if not (flow_run.state and flow_run.state.is_crashed()):
            self.client.set_flow_run_state(flow_run.id, Crashed(message=KILLED), force=True)
        self.client.set_flow_run_state(flow_run.id, Scheduled(message="Resumed."), force=True)

    def _end_tasks(self, killed: FlowRun, states: list[str]) -> None:
        """Mark the killed attempt's tasks in these states Crashed."""
        run = FlowRunFilter.model_validate({"id": {"any_": [killed.id]}})
        there = TaskRunFilter.model_validate({"state": {"type": {"any_": states}}})
        found: list[TaskRun] = []
        while page := self.client.read_task_runs(flow_run_filter=run, task_run_filter=there, offset=len(found)):
            found += page
        for task_run in found:
            if task_run.flow_run_run_count <= killed.run_count:
                self.client.set_task_run_state(task_run.id, Crashed(message=KILLED), force=True)
