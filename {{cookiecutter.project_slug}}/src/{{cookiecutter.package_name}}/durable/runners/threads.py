"""Where mapped tasks run: threads of the flow's own process."""

from typing import Any

from prefect import State
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from .settings import settings


def look_for_cluster() -> None:
    """Look for the cluster of the settings: threads need none."""


def task_runner() -> Any:
    """A runner for `settings.workers` tasks at a time."""
    return ThreadPoolTaskRunner(max_workers=settings.workers)


def final_state(future: PrefectFuture[Any]) -> State[Any]:
    """Wait for a task, and return its final state."""
    future.wait()
    return future.state
