"""When a task is run again and when it is not: the promises that do not depend on what its key is made of."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from functools import wraps
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect import Task, flow
from prefect.settings import PREFECT_TASKS_REFRESH_CACHE, temporary_settings

from {{ cookiecutter.package_name }}.durable.cache_keys import CACHING, cache_key
from {{ cookiecutter.package_name }}.durable.identity import digest
from {{ cookiecutter.package_name }}.durable.tasks import durable_task

from tests.support import store
from tests.support.processes import Child

calls: list[tuple[str, object]] = []


@durable_task(version="1")
def one(value: object) -> str:
    calls.append(("one", value))
    return f"one {value}"


@durable_task(version="1")
def two(value: object) -> str:
    calls.append(("two", value))
    return f"two {value}"


@durable_task(version="1")
def fails_first(value: object) -> object:
    calls.append(("fails_first", value))
    if len(calls) == 1:
        raise ValueError(value)
    return value


def factory(number: object) -> Task[Any, Any]:
    def helper() -> object:
        return number

    @durable_task(version="1")
    def made(value: object) -> object:
        return value, helper()

    return made


def unnamed(fn: Callable[..., object]) -> Callable[..., object]:
    def wrapper(*args: object, **options: object) -> object:
        return fn(*args, **options)

    return wrapper


def named(fn: Callable[..., object]) -> Callable[..., object]:
    return wraps(fn)(unnamed(fn))


def key(task: Task[Any, Any], **inputs: object) -> str:
    context: Any = SimpleNamespace(task=task)
    return cache_key(context, inputs)


def run(work: Callable[[], object]) -> int:
    """Do work in a flow run of its own, and count the task runs that were not cached."""
    calls.clear()

    @flow
    def once() -> None:
        work()

    once()
    return len(calls)


@pytest.mark.usefixtures("api")
def test_task_is_run_again_only_for_other_work() -> None:
    """The default policy of Prefect 3.9 has the run's id in its keys, and its INPUTS no name of the task."""
    assert run(lambda: one(1)) == 1
    assert run(lambda: one(1)) == 0, "the same inputs, in a new run"
    assert run(lambda: one(2)) == 1, "other inputs"
    assert run(lambda: two(1)) == 1, "another task with equal inputs"
    assert run(lambda: one(value=1)) == 0, "the same input, by its name"


@pytest.mark.usefixtures("api")
def test_other_version_is_other_work() -> None:
    other = durable_task(version="2")(one.fn)
    assert run(lambda: one(1)) == 1
    assert run(lambda: other(1)) == 1


@pytest.mark.usefixtures("api")
def test_task_is_run_again_where_that_is_asked_for() -> None:
    assert run(lambda: one(1)) == 1
    assert run(lambda: one.with_options(refresh_cache=True)(1)) == 1
    with temporary_settings({PREFECT_TASKS_REFRESH_CACHE: True}):
        assert run(lambda: one(1)) == 1
    assert run(lambda: one(1)) == 0


@pytest.mark.usefixtures("api")
def test_task_is_run_again_after_expiry() -> None:
    brief = one.with_options(cache_expiration=timedelta(milliseconds=1))
    assert run(lambda: brief(1)) == 1
    assert run(lambda: brief(1)) == 1


def test_expiry_is_the_setting() -> None:
    assert one.cache_expiration == CACHING["cache_expiration"] == timedelta(days=30)


@pytest.mark.usefixtures("api")
def test_task_that_failed_is_run_again() -> None:
    with pytest.raises(ValueError, match="1"):
        run(lambda: fails_first(1))
    calls.append(("so that it does not fail", None))
    fails_first(1)
    assert len(calls) == 3
    fails_first(1)
    assert len(calls) == 3


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("kept", [0, 0.5, 0.99])
def test_record_that_was_cut_is_made_anew(tmp_path: Path, kept: float) -> None:
    stored = one.with_options(result_storage=tmp_path)
    assert run(lambda: stored(1)) == 1
    (record,) = tmp_path.iterdir()
    whole = record.read_bytes()
    record.write_bytes(whole[: int(len(whole) * kept)])
    assert run(lambda: stored(1)) == 1
    assert run(lambda: stored(1)) == 0
    assert one.cache_policy.key_storage is None, "with keys in a place of their own, it would fail the task each time"


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("cut", [lambda text: text[: len(text) // 2], lambda text: text[:-1], lambda text: b"{}"])
def test_record_that_was_damaged_in_the_store_is_made_anew(cut: Callable[[bytes], bytes]) -> None:
    def both() -> None:
        assert (one(1), two(1)) == ("one 1", "two 1")

    assert run(both) == 2
    whole = {name: store.read(name) for name in store.names()}
    torn = min(whole)
    store.write(torn, cut(whole[torn]))
    assert run(both) == 1, "neither returned nor fatal: the one task has run again"
    assert json.loads(store.read(torn))["result"] == json.loads(whole[torn])["result"], "and its record is whole"


@pytest.mark.usefixtures("api")
def test_input_without_a_stable_form_leaves_the_task_uncached() -> None:
    """Prefect 3.9 only logs the error of a key. So the error says which input, and each kind of input needs a test."""
    thing = object()
    assert run(lambda: one([thing])) == 1
    assert run(lambda: one([thing])) == 1
    with pytest.raises(TypeError, match=r"^parameters\['value'\]\[0\]: builtins:object has no stable form"):
        key(one, value=[thing])


@pytest.mark.parametrize("value", ["..", "/etc/passwd", "a/b", "x" * 1000, "", {"a": [1] * 1000}, Decimal(1)])
def test_key_can_be_stored_whatever_the_inputs(value: object) -> None:
    """Prefect 3.9 fails a task whose key has `..` or is an absolute path, and stores none over 255 letters or empty."""
    assert re.fullmatch("[0-9a-f]{64}", key(one, value=value))


def test_tasks_of_a_factory_do_not_share_results() -> None:
    """They have one name and one source."""
    assert key(factory(1), value=1) == key(factory(1), value=1)
    assert key(factory(1), value=1) != key(factory(2), value=1)
    with pytest.raises(TypeError, match=r"__closure__\['helper'\].*\['number'\]: builtins:object has no stable form"):
        key(factory(object()), value=1)


def test_tasks_with_one_wrapper_do_not_share_results() -> None:
    def first(value: object) -> None: ...

    def second(value: object) -> None: ...

    keys = {key(durable_task(version="1")(wrap(fn)), value=1) for fn in (first, second) for wrap in (named, unnamed)}
    assert len(keys) == 4
    assert key(durable_task(version="1")(named(first)), value=1) == key(durable_task(version="1")(first), value=1)


@pytest.mark.usefixtures("api")
def test_scripts_do_not_share_results(tmp_path: Path) -> None:
    """Each of them is `__main__` when it is run; those of one name in two folders are two scripts too."""
    script = """
from types import SimpleNamespace
from {{ cookiecutter.package_name }}.durable.cache_keys import cache_key
from {{ cookiecutter.package_name }}.durable.tasks import durable_task

@durable_task(version="1")
def work() -> None: ...

print(cache_key(SimpleNamespace(task=work), {}))
"""
    (tmp_path / "folder").mkdir()
    keys = []
    for name in ("first.py", "first.py", "second.py", "folder/first.py"):
        (tmp_path / name).write_text(script)
        code, key = Child(tmp_path / name).end()
        assert code == 0
        keys.append(key)
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def test_task_that_is_not_a_function_has_no_key() -> None:
    class Callable_:  # noqa: N801
        def __call__(self) -> None: ...

    with pytest.raises(TypeError, match=r"is not a function|has no source"):
        key(durable_task(version="1")(Callable_()))


GOLDEN = "27e43f9d4a68cb5b5b64071030fedabbd7cd255ea4f4957e116d99269b0b5a6f"


def test_keys_stay_as_they_are() -> None:
    """Another key here makes each project run all of its tasks again."""

    def work() -> None: ...

    work.__module__, work.__qualname__ = "project.flows", "work"
    inputs = {"chunk": {"label": "2013-01-01", "place": (1, 2)}, "amount": Decimal("1.10"), "names": {"b", "a"}}
    assert digest(durable_task(version="1")(work), inputs) == GOLDEN
