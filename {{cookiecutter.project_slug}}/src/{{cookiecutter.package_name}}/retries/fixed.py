"""How failed tasks are tried again: after the same delay each time, spread by jitter."""

from typing import Any

from .attempts import FLOW_RETRIES, task_retries
from .settings import settings

__all__ = ["DELAYS", "FLOW_RETRIES", "RETRIES"]

DELAYS: list[float] = [settings.retry_delay.total_seconds()] * settings.retries
"""Seconds before each retry, before jitter."""

RETRIES: dict[str, Any] = task_retries(DELAYS)
"""What a task takes, as keyword arguments."""
