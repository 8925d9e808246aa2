"""The project's conventions: every task and flow has its policies, and none uses Prefect's transactions.

What is to be an exception is named in a table of `tests/flows`, with the reason, and so is seen in review.
"""

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow, Task

import {{ cookiecutter.package_name }}
from {{ cookiecutter.package_name }}.durable.cache_keys import CACHING
from {{ cookiecutter.package_name }}.durable.flows import NAME, DurableFlow, durable_flow
from {{ cookiecutter.package_name }}.durable.results import RESULTS
from {{ cookiecutter.package_name }}.durable.retries import RETRIES
from {{ cookiecutter.package_name }}.durable.runners import task_runner
from {{ cookiecutter.package_name }}.durable.settings import PACKAGE, PROJECT, ROOT
from {{ cookiecutter.package_name }}.durable.tasks import FLOW_POLICIES, POLICIES, durable_task

from tests.flows import EXEMPT, TRANSACTIONS
from tests.support import toy


def found(kind: type[Any]) -> dict[str, Any]:
    """Every task or flow of the package, by the name it is defined under, and those of the toy flow."""
    result = {f"toy.{name}": value for name, value in vars(toy).items() if isinstance(value, kind)}
    for module in pkgutil.walk_packages({{ cookiecutter.package_name }}.__path__, f"{PACKAGE}."):
        if not module.name.endswith("__main__"):
            for name, value in vars(importlib.import_module(module.name)).items():
                if isinstance(value, kind):
                    result[f"{value.fn.__module__}.{name}".removeprefix(f"{PACKAGE}.")] = value
    return result


def tasks() -> dict[str, Task[Any, Any]]:
    return found(Task)


def flows() -> dict[str, Flow[Any, Any]]:
    return found(Flow)


def place(fn: Any) -> str:
    """Where a function is written: its file and line."""
    file = Path(inspect.getsourcefile(fn) or "")
    return f"{file.relative_to(ROOT) if file.is_relative_to(ROOT) else file}:{inspect.getsourcelines(fn)[1]}"


def faults(task: Task[Any, Any]) -> list[str]:
    """What a task lacks."""
    wanted = {
        "persist_result": (task.persist_result, True),
        "result_storage": (task.result_storage, RESULTS),
        "result_serializer": (task.result_serializer, "json"),
        # A key function alone tells policies of functions apart: they may be configured in other ways.
        "cache_policy": (_key_of(task.cache_policy), _key_of(CACHING["cache_policy"])),
        "retry_condition_fn": (task.retry_condition_fn, RETRIES.get("retry_condition_fn")),
        "retries": (task.retries > 0, bool(RETRIES)),
        "version": (bool(task.version), True),
        "timeout_seconds": (bool(task.timeout_seconds or not POLICIES.get("timeout_seconds")), True),
        "tags": (set(POLICIES.get("tags", ())) <= task.tags, True),
    }
    return [name for name, (found, right) in wanted.items() if found != right]


def _key_of(policy: Any) -> Any:
    return getattr(policy, "cache_key_fn", policy)


def flow_faults(flow: Flow[Any, Any]) -> list[str]:
    """What a flow lacks."""
    wanted = {
        "name": (bool(re.fullmatch(NAME, flow.name)), True),
        "task_runner": (flow.task_runner, task_runner()),
        "durable_flow": (isinstance(flow, DurableFlow), True),
        "retries": (flow.retries >= FLOW_POLICIES.get("retries", 0), True),
        "timeout_seconds": (bool(flow.timeout_seconds or not FLOW_POLICIES.get("timeout_seconds")), True),
    }
    return [name for name, (found, right) in wanted.items() if found != right]


def deployment_faults(text: str) -> list[str]:
    """What the deployments of a `prefect.yaml` lack, with the line to change."""
    document: Any = yaml.compose(text)
    (nodes,) = (value.value for key, value in document.value if key.value == "deployments")
    found = []
    for deployment, node in zip(yaml.safe_load(text)["deployments"], nodes, strict=True):
        name = deployment["name"]
        lines = {key.value: key.start_mark.line + 1 for key, _ in node.value}
        first = node.start_mark.line + 1
        if not re.fullmatch(NAME, name):
            found.append(f"prefect.yaml:{lines.get('name', first)}: {name} is not lower case, with dashes")
        if PROJECT not in (deployment.get("tags") or ()):
            found.append(f"prefect.yaml:{lines.get('tags', first)}: {name} lacks the tag {PROJECT}, which alerts need")
    return found


@pytest.mark.parametrize("name", sorted(tasks()))
def test_task_follows_the_conventions(name: str) -> None:
    missing = faults(tasks()[name])
    assert not missing or name in EXEMPT, (
        f"{place(tasks()[name].fn)}: task {name} has no policy of the project for {', '.join(missing)}: make it with"
        f' @durable_task(version="1"), or add "{name}" to EXEMPT in tests/flows with the reason'
    )


@pytest.mark.parametrize("name", sorted(flows()))
def test_flow_follows_the_conventions(name: str) -> None:
    missing = flow_faults(flows()[name])
    assert not missing or name in EXEMPT, (
        f"{place(flows()[name].fn)}: flow {name} has no policy of the project for {', '.join(missing)}: make it with"
        f' @durable_flow(name="its-name"), or add "{name}" to EXEMPT in tests/flows with the reason'
    )


def test_deployments_have_tags_and_names_of_the_conventions() -> None:
    missing = deployment_faults((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    assert not missing, "\n".join(missing)


def test_the_place_of_a_deployment_is_the_line_to_change() -> None:
    tagged = "{tags: [" + PROJECT + "],\nname: An a}"
    deployments = tagged, "{entrypoint: a,\nname: a}", "{name: a,\ntags: []}", "{name: a,\ntags: [a]}"
    text = "\n".join(["name: a", "deployments:", *(f"- {deployment}" for deployment in deployments)])
    places = [fault.partition(": ")[0] for fault in deployment_faults(text)]
    assert places == ["prefect.yaml:4", "prefect.yaml:5", "prefect.yaml:8", "prefect.yaml:10"]


def test_the_walk_finds_tasks_and_flows() -> None:
    assert "toy.load_toys_of" in tasks()
    assert "toy.load_toys" in flows()
    assert "durable.effects.post" in tasks()


def test_no_exemption_outlives_its_task() -> None:
    assert set(EXEMPT) <= {*tasks(), *flows()}


def test_a_task_without_policies_is_caught() -> None:
    from prefect import task

    @task
    def bare() -> None: ...

    @durable_task(version="1")
    def durable() -> None: ...

    @durable_task(version="1", result_storage_key="one-for-all")
    def shares() -> None: ...

    assert "result_storage" in faults(bare)
    assert faults(shares) == ["cache_policy"], "a constant key gives the first call's result to all inputs"
    assert not faults(durable)


def test_a_flow_without_policies_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect import flow

    @flow(name="Bare flow")
    def bare() -> None: ...

    def durable() -> Flow[[], None]:
        return durable_flow(name="a-name")(lambda: None)

    assert flow_faults(bare) == ["name", "task_runner", "durable_flow"]
    before = durable()
    assert flow_faults(before) == []
    monkeypatch.setitem(FLOW_POLICIES, "timeout_seconds", 60)
    assert flow_faults(before) == ["timeout_seconds"]
    assert flow_faults(durable()) == []


def test_what_is_added_to_the_policies_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    @durable_task(version="1")
    def before() -> None: ...

    for name, value in {"timeout_seconds": 60, "tags": ["team"]}.items():
        monkeypatch.setitem(POLICIES, name, value)
        assert name in faults(before)

    @durable_task(version="1")
    def after() -> None: ...

    assert faults(after) == []


def test_the_place_of_a_task_is_the_line_to_change() -> None:
    fn = tasks()["toy.load_toys_of"].fn
    file, _, line = place(fn).rpartition(":")
    assert (ROOT / file).read_text(encoding="utf-8").splitlines()[int(line) - 1].startswith("@durable_task(")


def uses_of_transactions(source: str) -> list[int]:
    """The lines in which a module imports `prefect.transactions`, in whatever form."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
    return [line for name, line in found if f"{name}.".startswith("prefect.transactions.")]


def test_no_module_puts_tasks_into_a_transaction() -> None:
    # A transaction of Prefect 3.9 around tasks stores their results when it ends, so that a killed run has none; and a
    # retry inside of it rolls it back: the run is Completed, and the results of the other tasks are gone.
    for file in Path({{ cookiecutter.package_name }}.__file__).parent.rglob("*.py"):
        lines = uses_of_transactions(file.read_text(encoding="utf-8"))
        assert not lines or file.stem in TRANSACTIONS, (
            f"{file.relative_to(ROOT)}:{lines[0]}: leave out prefect.transactions, or name the module in TRANSACTIONS"
            " in tests/flows with the reason"
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
    assert uses_of_transactions(source)
