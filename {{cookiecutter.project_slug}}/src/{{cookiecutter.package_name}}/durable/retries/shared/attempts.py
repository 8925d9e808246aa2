"""The retry options of tasks and flows, for all retry policies."""

from typing import Any

from .transient import settings, should_retry


def task_retries(delays: list[float]) -> dict[str, Any]:
    """Return the options of a task with one retry per delay, as keyword arguments.

    With a jitter of 0.5, Prefect 3.9 draws each delay between 0.63 and 1.5 times the listed one, so that tasks do not
    all return at once (`clamped_poisson_interval` in prefect/utilities/math.py).

    Args:
        delays: seconds before each retry, before jitter. A list: Prefect 3.9 refuses a tuple.
    """
    return {
        "retries": len(delays),
        "retry_delay_seconds": delays,
        "retry_jitter_factor": settings.retry_jitter,
        "retry_condition_fn": should_retry,
    }


FLOW_RETRIES: dict[str, Any] = {
    "retries": settings.flow_retries,
    "retry_delay_seconds": settings.flow_retry_delay.total_seconds(),
}
"""The retry options of flows, as keyword arguments, for unattended deployed runs.

A failed flow runs again, whatever the error, and does only what is left. In Prefect 3.9, flows have no retry condition,
no jitter and one delay: a list of delays is accepted, but fails when the flow runs.
"""
