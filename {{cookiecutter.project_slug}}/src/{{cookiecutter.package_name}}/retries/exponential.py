"""How failed tasks are tried again: after 1, 2, 4, 8, … seconds, up to a cap, spread by jitter."""

from typing import Any

from .attempts import FLOW_RETRIES, task_retries
from .settings import settings

__all__ = ["DELAYS", "FLOW_RETRIES", "RETRIES"]

DELAYS: list[float] = [
    min(settings.retry_base.total_seconds() * 2**attempt, settings.retry_cap.total_seconds())
    for attempt in range(settings.retries)
]
"""Seconds before each retry, before jitter."""

RETRIES: dict[str, Any] = task_retries(DELAYS)
"""What a task takes, as keyword arguments."""
