"""Discovery of the project's flows: every Prefect flow that a module under `flows` defines."""

import importlib
import pkgutil
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
from prefect import Flow

from .errors import FlowsError, InputError, RunFailedError, SettingsError, one_line
from .settings import PACKAGE, ROOT, check_names

OURS = Path(__file__).parent
"""The folder of `durable`."""
PACKAGES = [f"{PACKAGE}.flows"]
"""The packages and modules that are searched for flows; the tests add their own."""


def flows() -> dict[str, Flow[Any, Any]]:
    """Import all flow modules, and return the flows that they define, sorted by name.

    This also puts all tables of the project on `metadata`, and registers all of its settings.

    Raises:
        FlowsError: a module cannot be imported, or two flows have the same name.
        SettingsError: a variable in the environment or in `.env` looks like a misspelt setting.
    """
    found: dict[str, Flow[Any, Any]] = {}
    for name in PACKAGES:
        for module in _modules(name):
            for value in vars(module).values():
                if not isinstance(value, Flow) or value.fn.__module__ != module.__name__:
                    continue
                if found.setdefault(value.name, value) is not value:
                    other = found[value.name].fn.__module__
                    raise FlowsError(f"two flows are called {value.name}, in {other} and {module.__name__}")
    check_names()
    return dict(sorted(found.items()))


def _modules(name: str) -> list[ModuleType]:
    package = _imported(name)
    paths = getattr(package, "__path__", [])
    names = [info.name for info in pkgutil.walk_packages(paths, f"{name}.", onerror=_imported)]
    return [package, *map(_imported, names)]


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except SettingsError:
        raise
    except Exception as error:
        said, refused, _ = str(error).partition(" Specify 'extend_existing=True'")
        if refused:
            # SQLAlchemy's advice would let two flows write one table.
            said = f"{said.rstrip()} Another flow has it too: give each its own, or import the table where it is."
        raise FlowsError(f"{place(error) or 'flows'}: {type(error).__name__}: {said}") from error


def told(error: BaseException) -> str:
    """Return what failed in a flow, as one line: an error of Python with its class, and its place in the project.

    An error of a request that got no answer also has the server.
    """
    if isinstance(error, InputError | RunFailedError):
        return one_line(error)
    where = ", ".join(filter(None, [_called(error), place(error)]))
    return f"{type(error).__name__}: {one_line(error)}" + (f" ({where})" if where else "")


def _called(error: BaseException) -> str:
    """Return the server that a request did not reach, or that broke off; empty if it is none of these errors.

    The rest of the URL may be secret, even the path.
    """
    request = vars(error).get("_request") if isinstance(error, httpx.RequestError) else None
    return f"{request.url.scheme}://{request.url.netloc.decode()}" if request and request.url.host else ""


def place(error: BaseException) -> str:
    """Return the file and line of the project at which an error arose: in its own code if any of it ran, not in ours.

    It is empty if the error has passed none of the project's files.
    """
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        frames.append((error.filename or "", error.lineno))
    inside = [(Path(file), line) for file, line in frames if ROOT in Path(file).parents and ".venv" not in file]
    # What a flow hands to `durable` may be refused there.
    found = [place for place in inside if OURS not in place[0].parents] or inside
    return f"{found[-1][0].relative_to(ROOT)}:{found[-1][1]}" if found else ""
