"""No cache keys across runs: a new run runs every task; a retry of the same run skips its finished tasks."""

from typing import Any

from prefect import Task
from prefect.cache_policies import DEFAULT

CACHING: dict[str, Any] = {"cache_policy": DEFAULT}
"""The cache policy of all tasks, as keyword arguments: in Prefect 3.9, inputs, source and the id of the run."""
ACROSS_RUNS = False
"""Whether a new run uses the results of earlier runs."""


def identify(task: Task[Any, Any]) -> None:
    """Do nothing: Prefect's default keys need no information from the project."""
