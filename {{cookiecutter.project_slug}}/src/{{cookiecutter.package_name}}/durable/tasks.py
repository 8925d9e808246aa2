"""The policies of the project's tasks and flows, and the decorator that gives a task its own."""

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
    # Not pickle, as Prefect 3.9 has it: whoever can write to a pickle store can run code in every worker that reads it.
    "result_serializer": "json",
    **CACHING,
    **RETRIES,
}
"""Of tasks. What is added here, such as `timeout_seconds` or `tags`, all of them have, and a test sees to it."""

FLOW_POLICIES: dict[str, Any] = {
    # Reports are for the caller. Else a user's Prefect settings may name a store for them, which is not there.
    "persist_result": False,
    "result_storage": RESULTS,
    **FLOW_RETRIES,
}
"""Of flows, in the same way."""


def durable_task(**options: Any) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a Prefect task under the project's policies: its results are stored, and its retries paced.

    Args:
        **options: of `prefect.task`; they override the policies. Give each task a `version`, and raise it when the same
            inputs must give another result.

    Raises:
        TypeError: the function has no cache key, as its code is in no file; the message says what to do.

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
    """Tell whether the result of a completed task is in the store.

    Prefect 3.9 completes a task whose result it could not write, with an error in the log alone (`Transaction.commit`
    in prefect/transactions.py). So a run that relies on its results asks.
    """
    return state.name == "Cached" or bool(getattr(state.data, "is_persisted", False))
