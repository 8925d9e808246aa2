"""The automation that finds zombie runs: a deployed run whose process is gone tells nobody; the server has to miss it.

It is the one of Prefect's documentation ("How to detect and respond to zombie flows"). A run that is alive but silent
for as long, on a machine that sleeps or without a network, is taken for dead too.
"""

from datetime import timedelta

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY

from .discovery import flows
from .settings import PROJECT

AUTOMATION = f"{PROJECT}: crash runs without heartbeats"
"""Its name on the server."""
MISSED = 3
"""Heartbeats that a run may owe before it counts as dead."""
HEARTBEAT = 180
"""Seconds between them, as Prefect 3.9 has it."""


def watch_heartbeats(within: int | None = None) -> int:
    """Create an automation that marks runs of the project's flows Crashed when their heartbeats stop. Idempotent.

    Args:
        within: seconds without a heartbeat, 10 at least; three times what lies between two of them unless given.

    Returns:
        The seconds.
    """
    seconds = within or MISSED * (PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value() or HEARTBEAT)
    ended = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed")}
    wanted = AutomationCore(
        name=AUTOMATION,
        description=f"A run that has sent no heartbeat for {seconds} s is Crashed.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat", *ended},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            match_related=ResourceSpecification(
                {"prefect.resource.role": "flow", "prefect.resource.name": list(flows())}
            ),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=seconds),
        ),
        actions=[
            # Without force: what has ended meanwhile stays as it is.
            ChangeFlowRunState(
                name="Crashed",
                state=StateType.CRASHED,
                message=f"No heartbeat for {seconds} s: the process is gone.",
                force=False,
            )
        ],
    )
    with get_client(sync_client=True) as client:
        save_automation(client, wanted)
    return seconds


def save_automation(client: SyncPrefectClient, wanted: AutomationCore) -> None:
    """Create an automation, or change the one of its name."""
    known = client.read_automations_by_name(wanted.name)
    if known:
        client.update_automation(known[0].id, wanted)
    else:
        client.create_automation(wanted)
