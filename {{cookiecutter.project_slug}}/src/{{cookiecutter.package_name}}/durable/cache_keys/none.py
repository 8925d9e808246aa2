"""The cache key of a task call: none. A new run runs every task; a retry of the same run finds its finished tasks."""

from typing import Any

from prefect import Task
from prefect.cache_policies import DEFAULT

CACHING: dict[str, Any] = {"cache_policy": DEFAULT}
"""The policy of all tasks, as keyword arguments: in Prefect 3.9, inputs, source and the id of the run."""
ACROSS_RUNS = False
"""Whether a new run finds what an earlier one has finished."""


def identify(task: Task[Any, Any]) -> None:
    """Have a task carry what its key needs to know of its definition: nothing."""
