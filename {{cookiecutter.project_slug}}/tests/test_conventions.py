"""The project's conventions: every task has its policies, and no task runs in one of Prefect's transactions.

What is to be an exception is named in a table here, with the reason, and so is seen in review.
"""

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path
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


TRANSACTIONS: dict[str, str] = {}
"""Modules that use Prefect's transactions all the same: their name, such as `flows`, and why."""


def uses_transactions(source: str) -> bool:
    """Whether a module imports `prefect.transactions`, in whatever form."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return any(f"{name}.".startswith("prefect.transactions.") for name in names)


def test_no_module_puts_tasks_into_a_transaction() -> None:
    # A transaction around tasks stores their results when it ends, so that a killed run has none; and a retry inside
    # of it rolls it back: the run is Completed, and the results of the other tasks are gone.
    files = Path({{ cookiecutter.package_name }}.__file__).parent.rglob("*.py")
    found = {file.stem for file in files if uses_transactions(file.read_text(encoding="utf-8"))}
    assert found == set(TRANSACTIONS), (
        f"leave out prefect.transactions, or name the module in TRANSACTIONS in {__file__} with the reason"
    )


@pytest.mark.parametrize(
    "source",
    [
        "from prefect.transactions import transaction",
        "import prefect.transactions",
        "from prefect import transactions as t",
        "def late():\n    from prefect.transactions import transaction",
    ],
)
def test_a_transaction_is_caught(source: str) -> None:
    assert uses_transactions(source)
