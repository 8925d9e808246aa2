"""Labels of deployed runs, which the Prefect server needs for alerts, and where alerts go: see `alerts.py`."""

import re
from contextlib import suppress
from urllib.parse import urlsplit

import httpx
from prefect import get_client
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_API_REQUEST_TIMEOUT, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from pydantic import SecretStr, field_validator

from .settings import ProjectSettings

JOB, DONE, REASON = "durable.job", "durable.done", "durable.reason"
"""The labels: the job, how many of its chunks are done, and the class of the error that ended the run."""


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


def label_run(labels: dict[str, str], at_work: bool = False) -> None:
    """Set labels on the current run, if a deployment started it. An unavailable server is not an error here.

    Args:
        labels: their names and values.
        at_work: whether chunks are to be done: then there is one try of two seconds. Prefect would wait for a busy
            server for up to a minute.
    """
    context = FlowRunContext.get()
    if not (context and context.flow_run and context.flow_run.deployment_id):
        return
    once = {PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: 2.0} if at_work else {}
    with suppress(httpx.HTTPError), temporary_settings(once), get_client(sync_client=True) as client:
        client.update_flow_run_labels(context.flow_run.id, dict(labels))
