"""How failed tasks are tried again: after 1, 2, 4, 8, … seconds, spread by jitter so that tasks do not return together.

With a jitter of 0.5, Prefect draws each delay between 0.63 and 1.5 times the one listed here
(`clamped_poisson_interval` in prefect/utilities/math.py).
"""

from typing import Any

from .settings import settings
from .transient import is_transient

DELAYS = [
    min(settings.retry_base.total_seconds() * 2**attempt, settings.retry_cap.total_seconds())
    for attempt in range(settings.retries)
]
"""Seconds before each retry, before jitter."""

RETRIES: dict[str, Any] = {
    "retries": settings.retries,
    "retry_delay_seconds": DELAYS,
    "retry_jitter_factor": settings.retry_jitter,
    "retry_condition_fn": is_transient,
}
"""What a task takes, as keyword arguments."""
