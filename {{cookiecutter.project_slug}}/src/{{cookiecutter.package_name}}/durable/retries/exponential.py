"""Retries with exponential backoff: after 1, 2, 4, 8, … seconds, up to a cap, plus jitter."""

from datetime import timedelta
from typing import Any

from pydantic import Field

from .attempts import FLOW_RETRIES, task_retries
from .settings import ProjectSettings

__all__ = ["DELAYS", "FLOW_RETRIES", "RETRIES", "task_retries"]


class DelaySettings(ProjectSettings):
    """The number and delays of task retries."""

    retries: int = Field(default=4, ge=1, le=50)
    """The number of retries of a task after transient errors."""
    retry_base: timedelta = Field(default=timedelta(seconds=1), ge=timedelta(0), le=timedelta(days=30))
    """The delay before the first retry; it doubles for each further one."""
    retry_cap: timedelta = Field(default=timedelta(minutes=5), ge=timedelta(0), le=timedelta(days=30))
    """The maximum delay, before jitter."""


settings = DelaySettings()

DELAYS: list[float] = [
    min(settings.retry_base.total_seconds() * 2**attempt, settings.retry_cap.total_seconds())
    for attempt in range(settings.retries)
]
"""Seconds before each retry, before jitter."""

RETRIES: dict[str, Any] = task_retries(DELAYS)
"""The retry options of tasks, as keyword arguments."""
