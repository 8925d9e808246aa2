"""The project's policies for tasks and flows, and the decorator that gives a task its own."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import State, Task, task
{%- if cookiecutter.cache_key == "none" %}
from prefect.cache_policies import DEFAULT
{%- endif %}

{% if cookiecutter.cache_key != "none" -%}
from .cache_keys import CACHING
from .locks import LOCKS
{% endif -%}
from .results import RESULTS
{%- if cookiecutter.retry_policy != "none" %}
from .retries import FLOW_RETRIES, RETRIES
{%- endif %}

P = ParamSpec("P")
R = TypeVar("R")

POLICIES: dict[str, Any] = {
    "persist_result": True,
    "result_storage": RESULTS,
    # Not pickle, Prefect's default: whoever can write to a pickle store can run code in every worker that reads it.
    "result_serializer": "json",
{%- if cookiecutter.cache_key != "none" %}
    **CACHING,
{%- else %}
    # A retry of the same flow run finds its finished tasks; a new run does not.
    "cache_policy": DEFAULT,
{%- endif %}
{%- if cookiecutter.retry_policy != "none" %}
    **RETRIES,
{%- endif %}
}
"""Of tasks. What is added here, such as `timeout_seconds` or `tags`, all of them have, and a test sees to it."""

FLOW_POLICIES: dict[str, Any] = {% if cookiecutter.retry_policy != "none" %}{**FLOW_RETRIES}{% else %}{}{% endif %}
"""Of flows: `@flow(name="its-name", task_runner=task_runner(), **FLOW_POLICIES)`."""

{%- if cookiecutter.cache_key != "none" %}

ONCE: dict[str, Any] = {
    "cache_policy": CACHING["cache_policy"].configure(isolation_level="SERIALIZABLE", lock_manager=LOCKS),
}
"""For a task that must not run twice at a time with the same key: `@durable_task(version="1", **ONCE)`.

Without it, two calls that come before the first result is stored both run. With it, the second one waits, and gets that
result; if the first one fails or its process is killed, the second one runs. `locks.py` says how far that reaches.
"""
{%- endif %}


def durable_task(**options: Any) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a Prefect task under the project's policies.

    Args:
        **options: of `prefect.task`; they go before the policies. Give a `version` to a task whose results are stored,
            and raise it when the same inputs must give another result.

    What fails must raise: a returned `Failed(...)` is stored, and found as a success (Prefect 3.8.8).
    """
    return task(**(POLICIES | options))


def stored(state: State[Any]) -> bool:
    """Tell whether the result of a completed task is in the store.

    Prefect completes a task whose result it could not write, with an error in the log alone (`Transaction.commit` in
    prefect/transactions.py); so a flow that relies on its results asks.
    """
    return state.name == "Cached" or bool(getattr(state.data, "is_persisted", False))
