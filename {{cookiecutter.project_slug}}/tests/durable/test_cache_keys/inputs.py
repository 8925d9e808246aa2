"""Keys by inputs: what they see, and what they do not."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from prefect import Task

from {{ cookiecutter.package_name }}.durable.cache_keys import cache_key
from {{ cookiecutter.package_name }}.durable.tasks import durable_task


def key(task: Task[Any, Any], *values: object) -> str:
    context: Any = SimpleNamespace(task=task)
    return cache_key(context, {"values": values})


def made(source: str) -> Task[Any, Any]:
    namespace: dict[str, Any] = {"__name__": "elsewhere"}
    exec(source, namespace)
    return durable_task(version="1")(namespace["work"])


def test_path_stands_for_its_name(tmp_path: Path) -> None:
    task = made("def work(values): ...")
    file = tmp_path / "a"
    file.write_text("1")
    before = key(task, file)
    file.write_text("2")
    assert key(task, file) == before != key(task, tmp_path / "b")


def test_code_is_seen_by_its_version_only() -> None:
    assert key(made("def work(values): return 1")) == key(made("def work(values): return 2"))
