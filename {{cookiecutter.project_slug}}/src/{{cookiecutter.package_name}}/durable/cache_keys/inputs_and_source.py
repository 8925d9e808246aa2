"""Cache keys of task calls from the task's name, its version, its inputs and its source code.

The code is that of the task's module, of the modules of functions that it wraps or closes over, and of all modules
that these import, directly or not, in the project's package and the task's own. Comments, blank lines and formatting
do not count. Everything else does, docstrings too, because code can read them. The key misses imports by a computed
name (`importlib.import_module`), methods of objects among the inputs, installed packages, data files, and an edit
after a task of the module is created. For these, raise the task's `version`.

In a notebook, a task's code is its cell, the cells of functions and classes that it uses by name, and the values of
variables. On Dask and Ray, the code of the process that submits the task counts: give the workers the same code.

To run a task although its result is stored: `task.with_options(refresh_cache=True)`, or for all tasks of a run
`PREFECT_TASKS_REFRESH_CACHE=true`. The setting `cache_expiration` says how long a result is valid.
"""

import ast
import dis
import hashlib
import inspect
import os
import pkgutil
import sys
import threading
from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

from prefect import Flow, Task
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.context import TaskRunContext

from .canonical import canonical
from .identity import cache_settings, carry_origin, digest, functions, task_function
from .settings import PACKAGE


def cache_key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """Compute the cache key of a task call: 64 hex digits.

    Raises:
        TypeError: an input has no stable form; the message names it. Prefect logs the error and runs the task uncached,
            so test the key of each new kind of input (`tests/durable/test_caching.py`).
    """
    return digest(context.task, parameters, source)


def identify(task: Task[Any, Any]) -> None:
    """Attach to a task what its key needs to know of its definition and code, for workers too.

    Raises:
        TypeError: the task cannot be identified, or its code cannot be read; the message names the task and says what
            to do.
    """
    carry_origin(task, cache_key, source)


CACHING: dict[str, Any] = {
    "cache_policy": CacheKeyFnPolicy(cache_key_fn=cache_key),
    "cache_expiration": cache_settings.cache_expiration,
}
"""The cache policy of all tasks, as keyword arguments."""
ACROSS_RUNS = True
"""Whether a new run uses the results of earlier runs."""

PARSING = threading.Lock()
"""Python 3.11 may raise SystemError if two threads parse at once during a garbage collection."""


class NoSourceError(TypeError):
    """Code that a task uses cannot be read."""


def source(task: Task[Any, Any]) -> str:
    """Compute the fingerprint of a task's code.

    Raises:
        TypeError: some of the code cannot be read; the message names the task and says what to do.
    """
    fn = task_function(task)
    found = []
    try:
        for function in functions(fn):
            if _is_typed_in(function):
                found.append(_cells(task.fn if function is fn else function))
            elif function.__module__.startswith("__") or _top(function.__module__) in (_top(fn.__module__), PACKAGE):
                file = function.__globals__.get("__file__") or function.__code__.co_filename
                found.append(fingerprint(function.__module__, Path(file)))
    except NoSourceError as error:
        raise TypeError(
            f"task {task.name}: {error}; define it in a module, or give the task `cache_policy=NO_CACHE`"
        ) from None
    return " ".join(sorted(found))


@cache
def fingerprint(module: str, file: Path) -> str:
    """Compute the fingerprint of all code that a module imports, directly or not. It is read once per process.

    Args:
        module: the module's name at import.
        file: the module's source file.

    Raises:
        NoSourceError: the source of the module, or of one that it imports, cannot be read.
    """
    loaded = sys.modules.get(module)
    package = getattr(loaded, "__package__", None) or ""
    return _reach(_read(module, file, getattr(loaded, "__spec__", None)), package, {_top(package or module), PACKAGE})


def _reach(text: bytes, package: str = "", tops: Container[str] = (PACKAGE,)) -> str:
    """Compute the fingerprint of a module's text and of its imports, direct or not, from some top-level packages."""
    # The module itself has no name here: a script's name differs between running and importing it.
    texts = {"": text}
    packages = {"": package}
    digests: dict[str, str] = {}
    while texts.keys() > digests.keys():
        name = (texts.keys() - digests.keys()).pop()
        try:
            with PARSING:
                tree = ast.parse(texts[name])
        except SyntaxError as error:
            raise NoSourceError(f"the source of {name or 'its module'} cannot be parsed: {error}") from None
        digests[name] = _sha256("\n".join(_tokens(tree)).encode())
        for imported in _imports(tree, packages[name]):
            for spec in _specs(imported) if _top(imported) in tops else ():
                if spec.name in texts or not spec.has_location or not spec.origin:
                    continue
                texts[spec.name] = _read(spec.name, Path(spec.origin), spec)
                packages[spec.name] = spec.parent or ""
    return _sha256(repr(sorted(digests.items())).encode())


def _is_typed_in(fn: FunctionType) -> bool:
    """Tell whether a function's text is in no file: it is in a notebook's cell, or generated."""
    file = fn.__code__.co_filename
    return file.startswith("<") or (
        fn.__globals__.get("__spec__") is None
        and os.path.abspath(file) != os.path.abspath(fn.__globals__.get("__file__") or "")
    )


def _cells(fn: Callable[..., Any]) -> str:
    """Compute the fingerprint of a function in a notebook: its cell, and what it and its wrappers use from others."""
    todo = list(_wrappers(fn))
    found = set()
    for each in todo:
        if not _is_typed_in(each):
            found.add(_imported(each))
            continue
        found.add(_reach(_cell(each).encode()))
        for name in set(_names(each.__code__)) & each.__globals__.keys():
            value = each.__globals__[name]
            value = value.fn if isinstance(value, Task | Flow) else value
            if isinstance(inspect.unwrap(value), FunctionType):
                todo += [used for fn in _wrappers(value) for used in functions(fn) if used not in todo]
            elif isinstance(value, type) and value.__module__.startswith("__"):
                todo += [method for method in _methods(value) if method not in todo]
            elif isinstance(value, type | ModuleType | BuiltinFunctionType):
                found.add(_imported(value))
            else:
                try:
                    found.add(_sha256(canonical([name, value])))
                except TypeError:
                    raise NoSourceError(f"{each.__qualname__} uses {name}, which no key can tell from others") from None
    return _sha256("\n".join(sorted(found)).encode())


def _cell(fn: FunctionType) -> str:
    # From Python 3.13 on, the text of `python -c` would be found for what any `exec` has made.
    if fn.__code__.co_filename != "<string>":
        with suppress(OSError):
            return "".join(inspect.findsource(fn.__code__)[0])
    raise NoSourceError(f"{fn.__qualname__} has no source to see a change in")


def _imported(value: FunctionType | BuiltinFunctionType | type | ModuleType) -> str:
    """Compute the fingerprint of what a function, class or module of the project imports; empty for others."""
    if isinstance(value, ModuleType):
        module = value.__name__
        text = f"import {module}\nfrom {module} import *"
    else:
        module = value.__module__ or ""
        text = f"import {module}"
    return _reach(text.encode()) if _top(module) == PACKAGE else ""


def _wrappers(fn: Callable[..., Any]) -> Iterator[FunctionType]:
    """Yield a function and the functions that it wraps."""
    each: Any = fn
    while each is not None:
        if isinstance(each, FunctionType):
            yield each
        each = getattr(each, "__wrapped__", None)


def _methods(kind: type) -> list[FunctionType]:
    """Return the methods of a class in a notebook, which lead to its text."""
    found: list[FunctionType] = []
    for base in kind.__mro__:
        if not base.__module__.startswith("__"):
            continue
        own = [getattr(value, "__func__", getattr(value, "fget", value)) for value in vars(base).values()]
        # Methods generated by a dataclass have no text.
        own = [fn for fn in own if isinstance(fn, FunctionType) and fn.__code__.co_filename != "<string>"]
        if not own:
            raise NoSourceError(f"class {base.__qualname__} has no method to find its source by")
        found += own
    return found


def _names(code: CodeType) -> Iterator[str]:
    """Yield the names of the global variables that a function, and functions inside it, read."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Yield the full names of all imports in a module, of which some may not be modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            around = package.split(".")
            base = [*around[: len(around) + 1 - node.level]] if node.level else []
            base += [node.module] if node.module else []
            yield from (".".join([*base, alias.name]) for alias in node.names)


def _specs(name: str) -> Iterator[ModuleSpec]:
    """Yield the specs of the modules that an import runs, parents included, without running them."""
    top, *parts = name.split(".")
    spec = getattr(sys.modules.get(top), "__spec__", None) or PathFinder.find_spec(top)
    while spec:
        yield spec
        folders = getattr(sys.modules.get(spec.name), "__path__", spec.submodule_search_locations)
        if not parts or folders is None:
            return
        part, *parts = parts
        if part == "*":
            # `__all__` may name any module of the package.
            for module in pkgutil.iter_modules(folders):
                if found := PathFinder.find_spec(f"{spec.name}.{module.name}", folders):
                    yield found
            return
        spec = PathFinder.find_spec(f"{spec.name}.{part}", folders)


def _read(module: str, file: Path, spec: ModuleSpec | None) -> bytes:
    if file.is_file() and file.suffix != ".pyc":
        content = file.read_bytes()
        # A package with lazy imports lists them in its stub.
        stub = file.with_suffix(".pyi")
        content += b"\n" + stub.read_bytes() if file.name == "__init__.py" and stub.is_file() else b""
        # An extension module counts by its bytes.
        return repr(_sha256(content)).encode() if file.suffix in EXTENSION_SUFFIXES else content
    # For a module in a zip archive, for instance; not every loader has `get_source`.
    find: Any = getattr(spec and spec.loader, "get_source", None)
    try:
        text = find(spec.name) if spec and find else None
    except ImportError:
        text = None
    if text is None:
        raise NoSourceError(f"the source of {module} is not at {file}")
    return str(text).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _top(module: str) -> str:
    return module.partition(".")[0]


def _tokens(tree: ast.Module) -> Iterator[str]:
    """Yield a module's syntax as text that is equal on every Python version; `ast.dump` is not."""
    stack: list[object] = [tree]
    while stack:
        part = stack.pop()
        if isinstance(part, ast.JoinedStr):
            # Python 3.12 adds empty pieces to f-strings.
            part.values = [value for value in part.values if getattr(value, "value", None) != ""]
        if isinstance(part, ast.AST):
            # Omit empty fields: later Python versions add some.
            fields = {name: value for name, value in sorted(ast.iter_fields(part)) if value is not None and value != []}
            yield f"{type(part).__name__} {' '.join(fields)}"
            stack += fields.values()
        elif isinstance(part, list):
            yield f"[{len(part)}]"
            stack += part
        else:
            # `repr` would escape other characters on another Python version.
            yield f"{type(part).__name__} {part!a}"
