"""The flows of the project: every Prefect flow that a module under `flows` defines, by its name."""

import importlib
import pkgutil
from typing import Any

from prefect import Flow

from .errors import SettingsError
from .settings import PACKAGE, check_names

PACKAGES = [f"{PACKAGE}.flows"]
"""Packages and modules in which flows are looked for; the tests add one of their own."""


def flows() -> dict[str, Flow[Any, Any]]:
    """Import all modules of flows, and return the flows that they define, by name and in its order.

    With them all tables of the project stand on `metadata`, and all of its settings are known.

    Raises:
        SettingsError: two flows have one name, or a variable of the environment or of `.env` looks like a misspelt
            setting.
    """
    found: dict[str, Flow[Any, Any]] = {}
    for name in PACKAGES:
        for module in _modules(name):
            for value in vars(module).values():
                if not isinstance(value, Flow) or value.fn.__module__ != module.__name__:
                    continue
                if found.setdefault(value.name, value) is not value:
                    other = found[value.name].fn.__module__
                    raise SettingsError(f"two flows are called {value.name}, in {other} and {module.__name__}")
    check_names()
    return dict(sorted(found.items()))


def _modules(name: str) -> list[Any]:
    package = importlib.import_module(name)
    names = [info.name for info in pkgutil.walk_packages(getattr(package, "__path__", []), f"{name}.")]
    return [package, *map(importlib.import_module, names)]
