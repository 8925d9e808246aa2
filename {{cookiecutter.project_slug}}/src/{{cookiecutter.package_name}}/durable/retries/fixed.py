"""Retries with a fixed delay, plus jitter."""

from datetime import timedelta
from typing import Any

from pydantic import Field

from .attempts import FLOW_RETRIES, task_retries
from .settings import ProjectSettings

__all__ = ["DELAYS", "FLOW_RETRIES", "RETRIES", "task_retries"]


class DelaySettings(ProjectSettings):
    """The number and delay of task retries."""

    retries: int = Field(default=4, ge=1, le=50)
    """The number of retries of a task after transient errors."""
    retry_delay: timedelta = Field(default=timedelta(seconds=30), ge=timedelta(0), le=timedelta(days=30))
    """The delay before each retry."""


settings = DelaySettings()

DELAYS: list[float] = [settings.retry_delay.total_seconds()] * settings.retries
"""Seconds before each retry, before jitter."""

RETRIES: dict[str, Any] = task_retries(DELAYS)
"""The retry options of tasks, as keyword arguments."""
