"""Labels of deployed runs, which the Prefect server needs for alerts, and where alerts go: see `alerts.py`."""

import re
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from threading import Thread
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
from prefect import get_client
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from pydantic import SecretStr, field_validator

from .settings import ProjectSettings

TIMEOUT = 10.0
"""Seconds for labels on their way, before the last ones are sent."""
JOB, DONE, REASON = "durable.job", "durable.done", "durable.reason"
"""The labels: the job, how many of its chunks are done, and why the run failed, without values."""


class AlertSettings(ProjectSettings):
    """Where alerts go."""

    alert_url: SecretStr = SecretStr("")
    """A webhook's URL, or `type/name` of a notification block on the server; empty: no alerts."""

    @field_validator("alert_url")
    @classmethod
    def _check_alert_url(cls, value: SecretStr) -> SecretStr:
        url = value.get_secret_value()
        is_url = url.startswith(("https://", "http://")) and urlsplit(url).hostname
        is_block = re.fullmatch(r"[a-z0-9-]+/[a-z0-9-]+", url)
        if url and not (is_url or is_block):
            raise ValueError("must begin with https://, or be a block's type and name, such as discord-webhook/team")
        return value


settings = AlertSettings()


_sending: list[Thread] = []
"""The thread that sends labels while chunks are done, if there is one."""


def label_run(labels: dict[str, str], at_work: bool = False) -> None:
    """Set labels on the current run, if a deployment started it. An unavailable server is not an error here.

    Args:
        labels: their names and values.
        at_work: whether chunks are being done: they do not wait for a busy server. Labels are left out while others
            are on their way.
    """
    context = FlowRunContext.get()
    if not (context and context.flow_run and context.flow_run.deployment_id):
        return
    if not at_work:
        for thread in _sending:
            thread.join(TIMEOUT)
        _send(context.flow_run.id, labels)
    elif not any(thread.is_alive() for thread in _sending):
        once = partial(copy_context().run, _send, context.flow_run.id, labels, {PREFECT_CLIENT_MAX_RETRIES: 0})
        _sending[:] = [Thread(target=once, daemon=True)]
        _sending[0].start()


def _send(flow_run_id: UUID, labels: dict[str, str], prefect: dict[Any, Any] | None = None) -> None:
    with suppress(httpx.HTTPError), temporary_settings(prefect), get_client(sync_client=True) as client:
        client.update_flow_run_labels(flow_run_id, dict(labels))
