"""How failed tasks are tried again: after the delays that are listed, such as 1 s, 10 s, 1 min, 10 min, with jitter."""

from typing import Any

from .attempts import FLOW_RETRIES, task_retries
from .settings import settings

__all__ = ["DELAYS", "FLOW_RETRIES", "RETRIES"]

DELAYS: list[float] = [delay.total_seconds() for delay in settings.retry_delays]
"""Seconds before each retry, before jitter."""

RETRIES: dict[str, Any] = task_retries(DELAYS)
"""What a task takes, as keyword arguments."""
