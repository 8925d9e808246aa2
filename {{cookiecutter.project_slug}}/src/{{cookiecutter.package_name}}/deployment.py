"""What the Prefect server has to know before the flow is deployed, beside what `prefect.yaml` says.

The automation is the one of Prefect's documentation ("How to detect and respond to zombie flows"): a run whose process
is gone tells nobody, so the server takes the end of its heartbeats for its end. A run that is alive but silent for as
long, on a machine that sleeps or without a network, is taken for dead too.
"""

{% if cookiecutter.deployment == "docker" and cookiecutter.upsert == "postgres" -%}
import os
{% endif -%}
from datetime import timedelta

{% if cookiecutter.deployment == "docker" and cookiecutter.upsert == "postgres" -%}
from dotenv import dotenv_values
{% endif -%}
from prefect import get_client
{%- if cookiecutter.deployment == "docker" and cookiecutter.upsert == "postgres" %}
from prefect.blocks.system import Secret
{%- endif %}
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY
{%- if cookiecutter.deployment == "docker" and cookiecutter.upsert == "postgres" %}
from pydantic import SecretStr
{%- endif %}

from .flows import load_flights
{%- if cookiecutter.deployment == "docker" and cookiecutter.upsert == "postgres" %}
from .settings import ENV_FILE
{%- endif %}

AUTOMATION = f"{load_flights.name}: crash runs without heartbeats"
"""Its name on the server."""
MISSED = 3
"""Heartbeats that a run may owe before it counts as dead."""
HEARTBEAT = 180
"""Seconds between them, as Prefect has it."""
{%- if cookiecutter.deployment == "docker" and cookiecutter.upsert == "postgres" %}
DATABASE_BLOCK = "{{ cookiecutter.project_slug }}-database-url"
"""The Secret block of that name is what `work-pool.json` names."""
DATABASE_VARIABLE = "RUNS_DATABASE_URL"
"""Of the environment or of `.env`: the database as runs in containers reach it."""
DATABASE_URL = "postgresql://flights:flights@database/flights"
"""That of `compose.yaml`, unless it is set."""


def save_database_url() -> None:
    """Keep the database's URL on the server, encrypted, for the worker to give to its containers. Idempotent."""
    known = {**dotenv_values(ENV_FILE), **os.environ}
    url = SecretStr(known.get(DATABASE_VARIABLE) or DATABASE_URL)
    Secret(value=url).save(DATABASE_BLOCK, overwrite=True)
{%- endif %}


def watch_heartbeats(within: int | None = None) -> int:
    """Have the server put runs of the flow to Crashed whose heartbeats have stopped. Idempotent.

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
                {"prefect.resource.role": "flow", "prefect.resource.name": load_flights.name}
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
        known = client.read_automations_by_name(AUTOMATION)
        if known:
            client.update_automation(known[0].id, wanted)
        else:
            client.create_automation(wanted)
    return seconds
