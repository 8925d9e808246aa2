"""When a finished task is not run again: its name, its version and its inputs are the same as before.

The key holds no run id, so a new run finds what an earlier one finished. It does not see a change in the code: give
the task another `version` when the same inputs must give another result. A path among the inputs stands for its name,
not for what is in the file.

To run a task although its result is stored: `task.with_options(refresh_cache=True)`, or for all tasks of a run
`PREFECT_TASKS_REFRESH_CACHE=true`. A result is good for as long as the setting `cache_expiration` says.
"""

from typing import Any

from prefect import Task
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.context import TaskRunContext

from .identity import cache_settings, carry_origin, digest


def cache_key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """Return a key of 64 hex digits for this call of this task.

    Raises:
        TypeError: an input has no stable form; the message names it. Prefect logs that and runs the task uncached, so
            test the key of each new kind of input (`tests/durable/test_caching.py`).
    """
    return digest(context.task, parameters)


def identify(task: Task[Any, Any]) -> None:
    """Have a task carry what its key needs to know of its definition, to workers too.

    Raises:
        TypeError: the task cannot be identified; the message names the task and says what to do.
    """
    carry_origin(task, cache_key)


CACHING: dict[str, Any] = {
    "cache_policy": CacheKeyFnPolicy(cache_key_fn=cache_key),
    "cache_expiration": cache_settings.cache_expiration,
}
"""The policy of all tasks, as keyword arguments."""
ACROSS_RUNS = True
"""Whether a new run finds what an earlier one has finished."""
