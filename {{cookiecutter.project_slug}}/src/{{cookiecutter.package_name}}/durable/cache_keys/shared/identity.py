"""Compute the key of a task call from the task, its version and its inputs."""

import hashlib
import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from prefect import Task
from pydantic import Field

from .canonical import Read, canonical
from .settings import ProjectSettings


class CacheSettings(ProjectSettings):
    """How long stored results are valid."""

    cache_expiration: timedelta = Field(default=timedelta(days=30), gt=timedelta(0), le=timedelta(days=36500))
    """How long the stored result of a finished task is used for the same inputs."""


cache_settings = CacheSettings()

Source = Callable[[Task[Any, Any]], str]

ORIGIN = "__durable_origin__"
"""The attribute of a task's function that holds its origin."""


@dataclass(frozen=True)
class Origin:
    """The origin of a task: where its definition is, and the fingerprint of its code."""

    places: Mapping[str, str]
    """The file of each module whose name does not identify it, such as `__main__`."""
    source: str
    """The fingerprint of the task's code; empty if keys do not use it."""


class LocalOrigin:
    """A placeholder for the origin of a task in the process that defines it.

    Dask and Ray send a task with cloudpickle, which keeps the code of its function but not the name of the file. So
    pickling computes the origin and sends it along.
    """

    def __init__(self, task: Task[Any, Any], source: Source | None) -> None:
        self.task, self.source = task, source

    def __reduce__(self) -> tuple[Any, ...]:
        origin = find_origin(self.task, self.source)
        return Origin, (origin.places, origin.source)


def carry_origin(task: Task[Any, Any], cache_key: Callable[..., str], source: Source | None = None) -> None:
    """Attach its origin to a task, so that every process computes the same key for it.

    Args:
        task: a task from `prefect.task`.
        cache_key: the key function that needs the origin. Tasks with another cache policy are not checked.
        source: computes the fingerprint of the task's code.

    Raises:
        TypeError: the task has no key; the message names the task and says what to do.
    """
    policies = getattr(task.cache_policy, "policies", [task.cache_policy])
    if any(getattr(policy, "cache_key_fn", None) is cache_key for policy in policies):
        find_origin(task, source)
        setattr(task.fn, ORIGIN, LocalOrigin(task, source))


def find_origin(task: Task[Any, Any], source: Source | None) -> Origin:
    """Return the origin of a task: the one that was sent with it, or else the one found in this process.

    Args:
        task: the decorated task.
        source: computes the fingerprint of the task's code.

    Raises:
        TypeError: the task cannot be identified; the message names the task and says what to do.
    """
    carried = getattr(task.fn, ORIGIN, None)
    if isinstance(carried, Origin):
        return carried
    places = {}
    for fn in functions(task_function(task)):
        if fn.__module__.startswith("__"):
            try:
                places[fn.__module__] = _file(fn)
            except TypeError as error:
                raise TypeError(f"task {task.name}: {error}") from None
    return Origin(places, source(task) if source else "")


def digest(
    task: Task[Any, Any], parameters: dict[str, Any], source: Source | None = None, read: Read | None = None
) -> str:
    """Compute the key of a task call: 64 hex digits.

    The key identifies the task by the place of its definition and by its closure variables: tasks of one factory do not
    share results. If a closure variable changes, such as a list that the task appends to, the key changes too.

    Args:
        task: the decorated task.
        parameters: the task's inputs, by name.
        source: computes the fingerprint of the task's code.
        read: returns plain data for a path among the inputs; see `canonical`.

    Raises:
        TypeError: an input or a closure variable has no stable form; or the task cannot be identified.
    """
    origin = find_origin(task, source)
    fn = task_function(task)
    key = hashlib.sha256(canonical([*_place(fn, origin.places), task.version, origin.source]))
    key.update(canonical(_around(fn, origin.places), f"{fn.__qualname__}.__closure__"))
    key.update(canonical(parameters, "parameters", read))
    return key.hexdigest()


def task_function(task: Task[Any, Any]) -> FunctionType:
    """Return the function of a task, without wrappers that name it in `__wrapped__`.

    Raises:
        TypeError: the task is not made of a function.
    """
    fn = inspect.unwrap(task.fn)
    if not isinstance(fn, FunctionType):
        raise TypeError(f"task {task.name}: {fn!r} is not a function, and has no name for a key; write one with `def`")
    return fn


def _place(item: FunctionType | type, places: Mapping[str, str]) -> tuple[str, str]:
    module = item.__module__
    if module.startswith("__") and isinstance(item, FunctionType):
        # Scripts share module names such as `__main__`: their file identifies them.
        module = places.get(module) or _file(item)
    return module, item.__qualname__


def _file(fn: FunctionType) -> str:
    """Return the script or notebook that defines a function. VS Code and Jupyter do not set `__file__`."""
    variables = fn.__globals__
    file = variables.get("__file__") or variables.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME")
    if not file:
        raise TypeError(
            f"{fn.__qualname__} is not in a file, and its key needs one;"
            ' set `__file__ = "a-name-of-its-own"` first, or define it in a module'
        )
    return str(Path(file).resolve())


def functions(fn: FunctionType) -> Iterator[FunctionType]:
    """Yield a function and the functions in its closure, recursively."""
    found = [fn]
    for each in found:
        yield each
        for cell in each.__closure__ or ():
            try:
                value = cell.cell_contents
            except ValueError:  # not set yet
                continue
            value = inspect.unwrap(value.fn if isinstance(value, Task) else value)
            if isinstance(value, FunctionType) and value not in found:
                found.append(value)


def _around(fn: FunctionType, places: Mapping[str, str], within: tuple[FunctionType, ...] = ()) -> dict[str, Any]:
    """Return the closure variables of a function; for a function among them, its place and its own variables."""
    found: dict[str, Any] = {}
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # not set yet
            continue
        if isinstance(value, Task):
            value = inspect.unwrap(value.fn)
        match value:
            case FunctionType():
                own = {} if value in (fn, *within) else _around(value, places, (fn, *within))
                found[name] = [*_place(value, places), own]
            case type():
                found[name] = _place(value, places)
            case ModuleType():
                found[name] = value.__name__
            case _:
                found[name] = value
    return found
