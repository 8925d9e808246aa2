"""When a finished task is not run again: its name, its version, its inputs and its code are the same as before.

Its code is that of its module, of the modules of functions that it is wrapped around or made with, and of all modules
that these import, and they import, within the project's package and the task's own. Comments, blank lines and
formatting do not count; anything else does, docstrings too, for code can read them. What is not seen: imports by a
computed name (`importlib.import_module`), methods of objects among the inputs, installed packages, data files, and an
edit after the first key of a process. For these, give the task another `version`.

To run a task although its result is stored: `task.with_options(refresh_cache=True)`, or for all tasks of a run
`PREFECT_TASKS_REFRESH_CACHE=true`. A result is good for as long as the setting `cache_expiration` says.
"""

import ast
import hashlib
import inspect
import sys
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

from prefect.cache_policies import CacheKeyFnPolicy
from prefect.context import TaskRunContext

from .identity import digest, functions
from .settings import settings


def cache_key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """Return a key of 64 hex digits for this call of this task.

    Raises:
        TypeError: an input has no stable form, or the task has no source file; the message names it. Prefect logs that
            and runs the task uncached, so test the key of each new kind of input (`tests/test_caching.py`).
    """
    fn = inspect.unwrap(context.task.fn)
    found = []
    for function in functions(fn) if isinstance(fn, FunctionType) else ():
        if function.__module__.partition(".")[0] not in {name.partition(".")[0] for name in (fn.__module__, __name__)}:
            continue
        file = Path(function.__code__.co_filename)
        if not file.is_file():
            raise TypeError(f"task {context.task.name}: {function.__qualname__} has no source file to see a change in")
        found.append(fingerprint(function.__module__, file))
    return digest(context.task, parameters, source=" ".join(sorted(found)))


CACHING: dict[str, Any] = {
    "cache_policy": CacheKeyFnPolicy(cache_key_fn=cache_key),
    "cache_expiration": settings.cache_expiration,
}
"""What a task takes, as keyword arguments."""

PARSING = threading.Lock()
"""Python 3.11 may raise SystemError where two threads parse at once, and garbage is collected meanwhile."""


@cache
def fingerprint(module: str, file: Path) -> str:
    """Return what the code is known by that a module reaches. It is read once a process.

    Args:
        module: the name that it is loaded by.
        file: its source.
    """
    package = getattr(sys.modules.get(module), "__package__", None) or ""
    # The package of the task, and that of the project.
    tops = [name.partition(".")[0] for name in (package or module, __name__)]
    folders = {top: [Path(folder) for folder in getattr(sys.modules.get(top), "__path__", ())] for top in tops}
    # A script has another name when it is run than when it is imported.
    found = {"": file}
    packages = {"": package}
    digests: dict[str, str] = {}
    while found.keys() > digests.keys():
        name = (found.keys() - digests.keys()).pop()
        source = found[name].read_bytes()
        with PARSING:
            tree = ast.parse(source, found[name])
        digests[name] = hashlib.sha256("\n".join(_tokens(tree)).encode()).hexdigest()
        for imported in _imports(tree, packages[name]):
            for part, path in _sources(imported, folders):
                found[part] = path
                packages[part] = part if path.name == "__init__.py" else part.rpartition(".")[0]
    return hashlib.sha256(repr(sorted(digests.items())).encode()).hexdigest()


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    """What may be a module, by its full name, of all that is imported anywhere in a module of a package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            around = package.split(".")
            base = [*around[: len(around) + 1 - node.level]] if node.level else []
            base += [node.module] if node.module else []
            yield from (".".join([*base, alias.name]) for alias in node.names)


def _sources(name: str, folders: dict[str, list[Path]]) -> Iterator[tuple[str, Path]]:
    """The modules that an import of this name runs, with their files: it and those around it, of these packages."""
    top, *parts = name.split(".")
    for folder in folders.get(top, ()):
        for count in range(len(parts) + 1):
            # The last part can be a `*`, for all modules of a package: `__all__` may name any of them.
            place = "/".join(parts[:count])
            for file in folder.glob(f"{place}/__init__.py" if place else "__init__.py"):
                yield ".".join([top, *file.parent.relative_to(folder).parts]), file
            for file in folder.glob(f"{place}.py") if place else ():
                yield ".".join([top, *file.relative_to(folder).with_suffix("").parts]), file


def _tokens(tree: ast.Module) -> Iterator[str]:
    """A module as text that is equal where its meaning is, on every Python: `ast.dump` is not."""
    stack: list[object] = [tree]
    while stack:
        part = stack.pop()
        if isinstance(part, ast.JoinedStr):
            # Python 3.12 has empty pieces in f-strings.
            part.values = [value for value in part.values if getattr(value, "value", None) != ""]
        if isinstance(part, ast.AST):
            # Empty fields are left out: a later Python has more of them.
            fields = {name: value for name, value in sorted(ast.iter_fields(part)) if value is not None and value != []}
            yield f"{type(part).__name__} {' '.join(fields)}"
            stack += fields.values()
        elif isinstance(part, list):
            yield f"[{len(part)}]"
            stack += part
        else:
            # Not repr: which characters it escapes depends on the Python.
            yield f"{type(part).__name__} {part!a}"
