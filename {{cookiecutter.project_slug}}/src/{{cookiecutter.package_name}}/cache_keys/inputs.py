"""When a finished task is not run again: its name, its version and its inputs are the same as before.

The key holds no run id, so a new run finds what an earlier one finished. It does not see a change in the code: give
the task another `version` when the same inputs must give another result.
"""

import hashlib
from typing import Any

from prefect.context import TaskRunContext

from .canonical import canonical
from .settings import settings


def cache_key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """Return a key of 64 hex digits for this call of this task.

    Raises:
        TypeError: an input has no stable form. Prefect logs that and runs the task uncached, so test the key of
            each new kind of input (`tests/test_cache_keys.py`).
    """
    task = context.task
    name = f"{task.fn.__module__}.{task.fn.__qualname__}"
    text = canonical([name, task.version]) + canonical(parameters, "parameters")
    return hashlib.sha256(text.encode()).hexdigest()


CACHING: dict[str, Any] = {
    "cache_key_fn": cache_key,
    "cache_expiration": settings.cache_expiration,
}
"""What a task takes, as keyword arguments."""
