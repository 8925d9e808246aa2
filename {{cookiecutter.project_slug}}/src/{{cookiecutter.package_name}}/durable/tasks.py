"""The policies of the project's tasks and flows, and the decorator that applies them to a task."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import State, Task, task

from .cache_keys import CACHING, identify
from .results import RESULTS
from .retries import FLOW_RETRIES, RETRIES

P = ParamSpec("P")
R = TypeVar("R")

POLICIES: dict[str, Any] = {
    "persist_result": True,
    "result_storage": RESULTS,
    # Prefect 3.9 defaults to pickle: whoever can write to the result storage could run code in every worker.
    "result_serializer": "json",
    **CACHING,
    **RETRIES,
}
"""The policies of all tasks. An option added here, such as `timeout_seconds` or `tags`, applies to all of them."""

FLOW_POLICIES: dict[str, Any] = {
    # Callers use the returned report; a user's Prefect settings may name a result storage that does not exist here.
    "persist_result": False,
    "result_storage": RESULTS,
    **FLOW_RETRIES,
}
"""The policies of all flows."""


def durable_task(**options: Any) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a Prefect task with the project's policies for results, caching and retries.

    Args:
        **options: options of `prefect.task`; they override the policies. Give each task a `version`, and raise it when
            the same inputs must give another result.

    Raises:
        TypeError: no cache key can be computed, as the function's code is in no file; the message says what to do.

    Example:
        @durable_task(version="1")
        def fetch_page(number: int) -> list[dict[str, str]]: ...
    """

    def decorate(fn: Callable[P, R]) -> Task[P, R]:
        made: Task[P, R] = task(**(POLICIES | options))(fn)
        identify(made)
        return made

    return decorate


def stored(state: State[Any]) -> bool:
    """Tell whether the result of a completed task is in the result storage.

    Prefect 3.9 completes a task even if its result could not be written, and only logs the error (`Transaction.commit`
    in prefect/transactions.py). A run that relies on stored results must check.
    """
    return state.name == "Cached" or bool(getattr(state.data, "is_persisted", False))
