"""What the retry policies share: how tasks and flows take them."""

from typing import Any

from .transient import settings, should_retry


def task_retries(delays: list[float]) -> dict[str, Any]:
    """Return what a task takes, as keyword arguments, to be tried again once for each delay.

    With a jitter of 0.5, Prefect 3.9 draws each delay between 0.63 and 1.5 times the one that is listed, so that tasks
    do not return together (`clamped_poisson_interval` in prefect/utilities/math.py).

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
"""What a flow takes, as keyword arguments, for deployed runs that nobody watches.

A flow that failed, for whatever reason, is run again, and does only what is left. Flows of Prefect 3.9 know no
condition, no jitter and one delay: a list is taken too, and fails when the flow runs.
"""
