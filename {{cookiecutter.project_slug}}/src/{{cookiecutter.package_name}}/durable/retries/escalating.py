"""Retries with listed delays, such as 1 s, 10 s, 1 min, 10 min, plus jitter."""

from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from .attempts import FLOW_RETRIES, task_retries
from .settings import ProjectSettings

__all__ = ["DELAYS", "FLOW_RETRIES", "RETRIES", "task_retries"]

Delay = Annotated[timedelta, Field(ge=timedelta(0), le=timedelta(days=30))]


class DelaySettings(ProjectSettings):
    """The number and delays of task retries."""

    # NoDecode: otherwise pydantic-settings would parse the variable as JSON.
    retry_delays: Annotated[tuple[Delay, ...], NoDecode] = Field(
        default=(timedelta(seconds=1), timedelta(seconds=10), timedelta(minutes=1), timedelta(minutes=10)),
        min_length=1,
        max_length=50,
    )
    """The delays before the retries of a task after transient errors, separated by commas: `PT1S,PT10S,PT1M`."""

    @field_validator("retry_delays", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [delay.strip() for delay in value.split(",")] if isinstance(value, str) else value


settings = DelaySettings()

DELAYS: list[float] = [delay.total_seconds() for delay in settings.retry_delays]
"""Seconds before each retry, before jitter."""

RETRIES: dict[str, Any] = task_retries(DELAYS)
"""The retry options of tasks, as keyword arguments."""
