"""What makes a call of a task another one: the task, its version, and its inputs."""

import hashlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from prefect import Task

from .canonical import Read, canonical


def digest(task: Task[Any, Any], parameters: dict[str, Any], source: str = "", read: Read | None = None) -> str:
    """Return the key of a call, of 64 hex digits.

    The task is known by where it is defined, without which two tasks with equal inputs would share a result, and by the
    variables that it takes from a function around it, without which all tasks of one factory would. Where such a
    variable changes, as a list does that the task appends to, each call is another one.

    Args:
        task: as it is decorated.
        parameters: its inputs, by name.
        source: what the task's code is known by.
        read: what a path among the inputs stands for; see `canonical`.

    Raises:
        TypeError: an input, or such a variable, has no stable form; or the task is not made of a function.
    """
    fn = inspect.unwrap(task.fn)
    if not isinstance(fn, FunctionType):
        raise TypeError(f"task {task.name}: {fn!r} is not a function, and has no name to be known by")
    key = hashlib.sha256(canonical([*_place(fn), task.version, source]))
    key.update(canonical(_around(fn), f"{fn.__qualname__}.__closure__"))
    key.update(canonical(parameters, "parameters", read))
    return key.hexdigest()


def _place(item: FunctionType | type) -> tuple[str, str]:
    module = item.__module__
    if module.startswith("__") and isinstance(item, FunctionType):
        # A script, or one that Prefect loads by its path: whichever is run is called `__main__`.
        module = str(Path(item.__code__.co_filename).resolve())
    return module, item.__qualname__


def functions(fn: FunctionType) -> Iterator[FunctionType]:
    """Yield a function and those that it takes from functions around it, and they from theirs."""
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


def _around(fn: FunctionType, within: tuple[FunctionType, ...] = ()) -> dict[str, Any]:
    """The variables that a function takes from those around it; of a function among them, its place and its own."""
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
                own = {} if value in (fn, *within) else _around(value, (fn, *within))
                found[name] = [*_place(value), own]
            case type():
                found[name] = _place(value)
            case ModuleType():
                found[name] = value.__name__
            case _:
                found[name] = value
    return found
