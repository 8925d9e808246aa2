"""Where alerts go; `test_heartbeats.py` sees them sent."""

import re
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from prefect import get_client
from prefect.blocks.notifications import CustomWebhookNotificationBlock, MicrosoftTeamsWebhook, SlackWebhook
from prefect.blocks.system import Secret
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger
from prefect.exceptions import ObjectNotFound
from prefect.server.events.schemas.automations import EventTrigger as ServerTrigger
from prefect.server.events.schemas.events import ReceivedEvent
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Failed
from pydantic import SecretStr

from {{ cookiecutter.package_name }}.durable import alerts, flows, labels, upserts
from {{ cookiecutter.package_name }}.durable.alerts import AUTOMATION, BLOCK, go_to, prepare_alerts
from {{ cookiecutter.package_name }}.durable.errors import SettingsError, safe_reason
from {{ cookiecutter.package_name }}.durable.labels import REASON, AlertSettings, label_run
from {{ cookiecutter.package_name }}.durable.server import server
from {{ cookiecutter.package_name }}.durable.settings import PROJECT

from tests.support import toys
from tests.support.prefect_home import prepared
from tests.support.toy import load_toys

SLACK = "https://hooks.slack.com/services/T1AAAAAAA/B1AAAAAAA/AAAAAAAAAAAAAAAAAAAAAAAA"
WEBHOOK = "https://hooks.example.com/services/a-secret"
SLUG = CustomWebhookNotificationBlock.get_block_type_slug()
TEAMS = "https://prod-1.westeurope.logic.azure.com:443/workflows/abc/triggers/manual/paths/invoke?api-version=1&sig=xyz"


@pytest.fixture(autouse=True)
def none_left(api: None) -> Iterator[None]:
    yield
    with get_client(sync_client=True) as client:
        for known in client.read_automations_by_name(AUTOMATION):
            client.delete_automation(known.id)


def goes_to(monkeypatch: pytest.MonkeyPatch, url: str) -> str:
    monkeypatch.setattr(alerts, "settings", AlertSettings(alert_url=SecretStr(url)))
    return prepare_alerts()


def test_url_is_kept_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    said = [goes_to(monkeypatch, WEBHOOK) for _ in range(2)]
    assert said == ["alerts go to hooks.example.com"] * 2
    with get_client(sync_client=True) as client:
        (automation,) = client.read_automations_by_name(AUTOMATION)
        block = client.read_block_document_by_name(BLOCK, SLUG, include_secrets=False)
        assert "a-secret" not in block.model_dump_json()
        assert "a-secret" not in automation.model_dump_json()
    (action,) = automation.actions
    assert isinstance(action, SendNotification)
    assert action.block_document_id == block.id
    assert goes_to(monkeypatch, "").startswith("no alerts are sent: ")
    with get_client(sync_client=True) as client:
        assert client.read_automations_by_name(AUTOMATION) == []
        with pytest.raises(ObjectNotFound):
            client.read_block_document_by_name(BLOCK, SLUG)


def test_other_blocks_send(monkeypatch: pytest.MonkeyPatch) -> None:
    assert goes_to(monkeypatch, TEAMS) == "alerts go to prod-1.westeurope.logic.azure.com"
    with get_client(sync_client=True) as client:
        client.read_block_document_by_name(BLOCK, MicrosoftTeamsWebhook.get_block_type_slug())
    assert goes_to(monkeypatch, SLACK) == "alerts go to hooks.slack.com"
    with get_client(sync_client=True) as client, pytest.raises(ObjectNotFound):
        client.read_block_document_by_name(BLOCK, MicrosoftTeamsWebhook.get_block_type_slug())
    name = f"{SlackWebhook.get_block_type_slug()}/{BLOCK}"
    assert goes_to(monkeypatch, name) == f"alerts go to {name}"


def test_place_of_alerts_is_compared_with_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    named = f"{SlackWebhook.get_block_type_slug()}/{BLOCK}"
    with get_client(sync_client=True) as client:
        for url in (WEBHOOK, TEAMS, SLACK, named):
            goes_to(monkeypatch, url)
            (automation,) = client.read_automations_by_name(AUTOMATION)
            assert go_to(client, automation, url)
            assert not go_to(client, automation, f"{url}x")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("discord-webhook/nothing", "the server has no block discord-webhook/nothing"),
        ("secret/word", "the block secret/word sends no notifications"),
        ("https://discord.com/api/webhooks/1/a", "make a block in the server's UI"),
        ("https://prod-1.westeurope.logic.azure.com/nothing", "Prefect takes no such URL of Teams"),
    ],
)
def test_what_nobody_receives_is_refused(url: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Secret(value=SecretStr("any")).save("word", overwrite=True)
    with pytest.raises(SettingsError, match=reason):
        goes_to(monkeypatch, url)


@pytest.mark.parametrize(
    "url", ["hooks.example.com", "mailto://a@example.com", "https:///path", "a/b/c", "ntfy.sh/topic"]
)
def test_wrong_url_is_an_error(url: str) -> None:
    with pytest.raises(SettingsError, match="ALERT_URL: must begin with https://") as raised:
        AlertSettings(alert_url=SecretStr(url))
    assert url not in str(raised.value)


def test_run_of_another_project_sends_no_alert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its flow has the same name. An automation of an earlier version, which knows flows alone, is replaced."""
    # A server that keeps events: that of the other tests may have no services.
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    for name, value in prepared(tmp_path / "prefect").items():
        monkeypatch.setenv(name, value)
    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        server(tmp_path / "server.log"),
        get_client(sync_client=True) as client,
    ):
        goes_to(monkeypatch, WEBHOOK)
        (before,) = client.read_automations_by_name(AUTOMATION)
        assert isinstance(before.trigger, EventTrigger)
        assert isinstance(before.trigger.match_related, list)
        before.trigger.match_related.pop()
        earlier = before.model_dump(exclude={"id", "owner_resource"})
        client.update_automation(before.id, AutomationCore.model_validate(earlier))
        goes_to(monkeypatch, WEBHOOK)
        (after,) = client.read_automations_by_name(AUTOMATION)
        assert after.id == before.id
        trigger = ServerTrigger.model_validate(after.trigger.model_dump(mode="json"))
        flow = client.create_flow_from_name(toys.FLOW)
        sent = {}
        for tag in (PROJECT, f"{PROJECT}-others"):
            deployment = client.create_deployment(flow, f"{tag}-{uuid4()}", tags=[tag])
            run = client.create_flow_run_from_deployment(deployment)
            client.set_flow_run_state(run.id, Failed(), force=True)
            failed = {"id": [f"prefect.flow-run.{run.id}"]}
            wanted = {"event": {"name": ["prefect.flow-run.Failed"]}, "any_resource": failed}
            deadline = time.monotonic() + 60
            while not (found := client._client.post("/events/filter", json={"filter": wanted}).json()["events"]):
                assert time.monotonic() < deadline, "the server keeps no event"
                time.sleep(0.2)
            sent[tag] = trigger.covers(ReceivedEvent.model_validate(found[0]))
            client.delete_deployment(deployment)
    assert sent == {PROJECT: True, f"{PROJECT}-others": False}


def test_reason_of_a_failed_run_holds_no_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: dict[str, str] = {}
    monkeypatch.setattr(flows, "label_run", sent.update)
    path = toys.write(tmp_path / "f.txt", "a x 1", "b x 1")
    toys.fail(path, "b")
    assert load_toys(path, return_state=True).is_failed()
    assert sent == {REASON: "1 of 2 chunks failed, the first with ValueError"}
    assert load_toys(toys.write(tmp_path / "g.txt", "a 739190739"), return_state=True).is_failed()
    assert sent == {REASON: "all 1 records were rejected"}
    assert load_toys(tmp_path / "739190739.txt", return_state=True).is_failed()
    assert sent == {REASON: "InputError"}


@pytest.mark.skipif(not upserts.WRITES, reason="no database")
def test_reason_of_a_failed_database_is_what_its_driver_says() -> None:
    def fail(connection: Any) -> None:
        connection.exec_driver_sql("SELECT 739190739 FROM nothing_there")

    with pytest.raises(upserts.ERRORS) as raised, upserts.transaction() as connection:
        fail(connection)
    said = safe_reason(raised.value)
    assert re.match(r"\w+: .*nothing_there", said), said
    assert "739190739" not in said
    assert "\n" not in said


class Busy(BaseHTTPRequestHandler):
    """A server that is always busy, and counts how often it was asked."""

    asked = 0

    def _answer(self) -> None:
        Busy.asked += 1
        self.send_response(503)
        self.send_header("Retry-After", "60")
        self.end_headers()

    # Prefect asks for a token first.
    do_GET = do_PATCH = _answer  # noqa: N815

    def log_message(self, *_: object) -> None: ...


def test_run_at_work_does_not_wait_for_a_busy_server(monkeypatch: pytest.MonkeyPatch) -> None:
    run = SimpleNamespace(id=uuid4(), deployment_id=uuid4())
    monkeypatch.setattr(labels, "FlowRunContext", SimpleNamespace(get=lambda: SimpleNamespace(flow_run=run)))
    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{server.server_address[1]}/api"}):
            began = time.monotonic()
            for _ in range(9):
                label_run({"durable.done": "1 of 2 chunks"}, at_work=True)
            assert time.monotonic() - began < 30
            while not Busy.asked:
                time.sleep(0.01)
        server.shutdown()
    assert Busy.asked == 1
