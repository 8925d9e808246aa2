"""The project's conventions: every task has its policies.

A task that is to have others is named in EXEMPT, with the reason, and so is seen in review.
"""

import importlib
import inspect
import pkgutil
import re
from typing import Any

import pytest
from prefect import State, Task
{%- if cookiecutter.cache_key == "none" %}
from prefect.cache_policies import DEFAULT
{%- endif %}
from prefect.states import Failed

import {{ cookiecutter.package_name }}
{%- if cookiecutter.cache_key != "none" %}
from {{ cookiecutter.package_name }}.cache_keys import cache_key
{%- endif %}
from {{ cookiecutter.package_name }}.durable import {% if cookiecutter.cache_key != "none" %}ONCE, {% endif %}durable_task
from {{ cookiecutter.package_name }}.results import RESULTS
{%- if cookiecutter.retry_policy != "none" %}
from {{ cookiecutter.package_name }}.transient import is_transient
{%- endif %}

EXEMPT: dict[str, str] = {}
"""Tasks that do not follow a convention: their name, such as `flows.send_mail`, and why."""

PACKAGE = "{{ cookiecutter.package_name }}"


def tasks() -> dict[str, Task[Any, Any]]:
    """Every task of the package, by the name it is defined under."""
    found = {}
    for module in pkgutil.walk_packages({{ cookiecutter.package_name }}.__path__, f"{PACKAGE}."):
        if not module.name.endswith("__main__"):
            for name, value in vars(importlib.import_module(module.name)).items():
                if isinstance(value, Task):
                    found[f"{value.fn.__module__}.{name}".removeprefix(f"{PACKAGE}.")] = value
    return found


def faults(task: Task[Any, Any]) -> list[str]:
    """What a task lacks."""
    wanted = {
        "persist_result": (task.persist_result, True),
        "result_storage": (task.result_storage, RESULTS),
        "result_serializer": (task.result_serializer, "json"),
{%- if cookiecutter.cache_key != "none" %}
        "cache_policy": (getattr(task.cache_policy, "cache_key_fn", None), cache_key),
{%- else %}
        "cache_policy": (task.cache_policy, DEFAULT),
{%- endif %}
{%- if cookiecutter.retry_policy != "none" %}
        "retry_condition_fn": (task.retry_condition_fn, is_transient),
        "retries": (task.retries > 0, True),
{%- endif %}
        "version": (bool(task.version), True),
        # Prefect 3.8.8 stores a returned failure, and finds it as a success: raise an error.
        "no returned Failed": (re.findall(r"return Failed\(", inspect.getsource(task.fn)), []),
    }
    return [name for name, (found, right) in wanted.items() if found != right]


@pytest.mark.parametrize("name", sorted(tasks()))
def test_task_follows_the_conventions(name: str) -> None:
    missing = faults(tasks()[name])
    assert not missing or name in EXEMPT, (
        f"task {name} has no policy of the project for {', '.join(missing)}: make it with"
        f' @durable_task(version="1"), or add "{name}" to EXEMPT in {__file__} with the reason'
    )


def test_the_walk_finds_the_tasks() -> None:
    assert "flows.load_chunk" in tasks()


def test_no_exemption_outlives_its_task() -> None:
    assert set(EXEMPT) <= set(tasks())


def test_a_task_without_policies_is_caught() -> None:
    from prefect import task

    @task
    def bare() -> None: ...

    @durable_task(version="1")
    def durable() -> None: ...

    @durable_task(version="1", result_storage_key="one-for-all")
    def shares() -> None: ...

    @durable_task(version="1")
    def fails() -> State[Any]:
        return Failed(message="a success from now on")
{%- if cookiecutter.cache_key != "none" %}

    @durable_task(version="1", **ONCE)
    def once() -> None: ...
{%- endif %}

    assert "result_storage" in faults(bare)
    assert faults(shares) == ["cache_policy"], "a constant key gives the first call's result to all inputs"
    assert faults(fails) == ["no returned Failed"]
    assert not faults(durable)
{%- if cookiecutter.cache_key != "none" %}
    assert not faults(once)
{%- endif %}
