"""Where mapped tasks run: threads of the flow's own process."""

from typing import Any

from prefect.task_runners import ThreadPoolTaskRunner

from .settings import settings


def task_runner() -> Any:
    """A runner for `settings.workers` tasks at a time."""
    return ThreadPoolTaskRunner(max_workers=settings.workers)
