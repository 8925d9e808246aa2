"""Cache keys of task calls from the task's name, its version and its inputs.

The key contains no run id, so a new run finds the results of earlier runs. It misses a change in the code: raise the
task's `version` when the same inputs must give another result. A path among the inputs stands for its name, not for
the content of the file.

To run a task although its result is stored: `task.with_options(refresh_cache=True)`, or for all tasks of a run
`PREFECT_TASKS_REFRESH_CACHE=true`. The setting `cache_expiration` says how long a result is valid.
"""

from typing import Any

from prefect import Task
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.context import TaskRunContext

from .identity import cache_settings, carry_origin, digest


def cache_key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """Compute the cache key of a task call: 64 hex digits.

    Raises:
        TypeError: an input has no stable form; the message names it. Prefect logs the error and runs the task uncached,
            so test the key of each new kind of input (`tests/durable/test_caching.py`).
    """
    return digest(context.task, parameters)


def identify(task: Task[Any, Any]) -> None:
    """Attach to a task what its key needs to know of its definition, for workers too.

    Raises:
        TypeError: the task cannot be identified; the message names the task and says what to do.
    """
    carry_origin(task, cache_key)


CACHING: dict[str, Any] = {
    "cache_policy": CacheKeyFnPolicy(cache_key_fn=cache_key),
    "cache_expiration": cache_settings.cache_expiration,
}
"""The cache policy of all tasks, as keyword arguments."""
ACROSS_RUNS = True
"""Whether a new run uses the results of earlier runs."""
