"""The automation that marks zombie runs Crashed: deployed runs whose process is gone send no more heartbeats.

It is the automation of Prefect's documentation ("How to detect and respond to zombie flows"). A live run without
heartbeats, on a machine that sleeps or has no network, is marked Crashed too.
"""

from datetime import timedelta

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY

from .settings import PROJECT

AUTOMATION = f"{PROJECT}: crash runs without heartbeats"
"""The automation's name on the server."""
MISSED = 3
"""The number of missed heartbeats after which a run is marked Crashed."""
OURS: list[ResourceSpecification | dict[str, str | list[str]]] = [
    ResourceSpecification({"prefect.resource.role": "deployment"}),
    # Other projects on the server may have flows and deployments of the same names.
    ResourceSpecification({"prefect.resource.id": f"prefect.tag.{PROJECT}"}),
]
"""What an event of a run of the project's deployments is related to."""
HEARTBEAT = 180
"""Seconds between heartbeats: the default of Prefect 3.9."""


def watch_heartbeats(within: int | None = None) -> int:
    """Create an automation that marks runs of the project's deployments Crashed when their heartbeats stop. Idempotent.

    Args:
        within: seconds without a heartbeat, at least 10; default: three times the interval between heartbeats.

    Returns:
        The seconds without a heartbeat.
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
            match_related=OURS,
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=seconds),
        ),
        actions=[
            # Without force, a run that has ended meanwhile keeps its state.
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
    """Create an automation, or update the one with the same name."""
    known = client.read_automations_by_name(wanted.name)
    if known:
        client.update_automation(known[0].id, wanted)
    else:
        client.create_automation(wanted)
