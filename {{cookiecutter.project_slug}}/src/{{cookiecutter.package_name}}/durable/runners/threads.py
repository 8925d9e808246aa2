"""Task runner with threads of the flow's process."""

from typing import Any

from prefect import State
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from .settings import settings


def look_for_cluster() -> None:
    """Do nothing: threads need no cluster."""


def task_runner() -> Any:
    """Return a runner for `settings.workers` tasks at a time."""
    return ThreadPoolTaskRunner(max_workers=settings.workers)


def final_state(future: PrefectFuture[Any]) -> State[Any]:
    """Wait for a task, and return its final state."""
    future.wait()
    return future.state
