"""Alerts: the Prefect server sends a message when a run of a deployment fails, crashes or is late.

It uses an automation with one of Prefect's notification blocks. The message names the flow, the job, its progress, why
it failed and the command to resume the run. It omits texts of errors that may contain values of a record.
"""

import json
from contextlib import suppress
from importlib.resources import files
from urllib.parse import urlsplit
from uuid import UUID

from prefect import get_client
from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.notifications import CustomWebhookNotificationBlock, MicrosoftTeamsWebhook, SlackWebhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound
from prefect.types import SecretDict
from pydantic import SecretStr

from .errors import SettingsError
from .heartbeats import OURS, save_automation
from .labels import settings
from .settings import PREFIX, PROJECT

AUTOMATION = f"{PROJECT}: alerts"
"""The automation's name on the server."""
BLOCK = f"{PROJECT}-alerts"
"""The name of the notification block that stores the URL, encrypted."""
STATES = ("Failed", "TimedOut", "Crashed", "Late")
"""The states of a run that send an alert."""
SLACK = "hooks.slack.com"
TEAMS = ("logic.azure.com", "api.powerplatform.com")
"""The host of Slack's webhooks, and the endings of those of Teams. Others get JSON with one field, `text`."""


def prepare_alerts() -> str:
    """Set up alerts on the server, or remove them if the setting is empty. Idempotent.

    Returns:
        A line that says where alerts go.

    Raises:
        SettingsError: the block does not exist, or the URL does not fit its service.
    """
    url = settings.alert_url.get_secret_value()
    with get_client(sync_client=True) as client:
        if not url:
            for known in client.read_automations_by_name(AUTOMATION):
                client.delete_automation(known.id)
            _remove_blocks(client, None)
            return f"no alerts are sent: {PREFIX}ALERT_URL is not set"
        block = _block(client, url)
        subject, _, body = _text("alert.jinja").partition("\n")
        save_automation(
            client,
            AutomationCore(
                name=AUTOMATION,
                description="A message for each run of a deployment that fails, is crashed or is late.",
                trigger=EventTrigger(
                    expect={f"prefect.flow-run.{state}" for state in STATES},
                    match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
                    match_related=OURS,
                    for_each={"prefect.resource.id"},
                    posture=Posture.Reactive,
                    threshold=1,
                ),
                actions=[SendNotification(block_document_id=block, subject=subject, body=body)],
            ),
        )
        _remove_blocks(client, block)
    return f"alerts go to {urlsplit(url).hostname or url}"


def go_to(client: SyncPrefectClient, automation: Automation, url: str) -> bool:
    """Say whether an automation sends to a URL, or by the block that stands in its place."""
    sent = [action for action in automation.actions if isinstance(action, SendNotification)]
    for block in (client.read_block_document(action.block_document_id) for action in sent):
        named = f"{block.block_type.slug}/{block.name}" if block.block_type else ""
        if url in (named, block.data.get("url"), block.data.get("secrets", {}).get("url")):
            return True
    return False


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _block(client: SyncPrefectClient, url: str) -> UUID:
    host = urlsplit(url).hostname
    if not host:
        kind, _, name = url.partition("/")
        try:
            block = client.read_block_document_by_name(name, kind, include_secrets=False)
        except ObjectNotFound:
            raise SettingsError(f"{PREFIX}ALERT_URL: the server has no block {url}") from None
        if not block.block_schema or "notify" not in block.block_schema.capabilities:
            raise SettingsError(f"{PREFIX}ALERT_URL: the block {url} sends no notifications")
        return block.id
    if host == "discord.com":
        raise SettingsError(
            f"{PREFIX}ALERT_URL: Discord takes other messages; make a block in the server's UI: discord-webhook/name"
        )
    if host == SLACK:
        return _saved(client, SlackWebhook(url=SecretStr(url)))
    if host.endswith(TEAMS):
        try:
            return _saved(client, MicrosoftTeamsWebhook(url=SecretStr(url)))
        except ValueError:
            raise SettingsError(
                f"{PREFIX}ALERT_URL: Prefect takes no such URL of Teams; make a notification block in its UI, and give"
                " its type and name instead"
            ) from None
    request = json.loads(_text("alert.json.jinja"))
    return _saved(client, CustomWebhookNotificationBlock(name=PROJECT, secrets=SecretDict({"url": url}), **request))


def _remove_blocks(client: SyncPrefectClient, but: UUID | None) -> None:
    """Delete the blocks with an earlier URL, except the one in use."""
    for kind in (CustomWebhookNotificationBlock, MicrosoftTeamsWebhook, SlackWebhook):
        with suppress(ObjectNotFound):
            block = client.read_block_document_by_name(BLOCK, kind.get_block_type_slug())
            if block.id != but:
                client.delete_block_document(block.id)


def _saved(client: SyncPrefectClient, block: NotificationBlock) -> UUID:
    block.save(BLOCK, overwrite=True)
    return client.read_block_document_by_name(BLOCK, block.get_block_type_slug()).id
