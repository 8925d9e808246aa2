"""Have Prefect find those of its integrations alone that a project depends on, as in the project's own environment.

That of these tests has the integrations of all variants, which take a process five seconds of its time to import.
The project is the one whose `src` PYTHONPATH names.
"""

import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

plain = metadata.entry_points


def chosen() -> set[str] | None:
    """Return the packages of the integrations, or None where there is no project."""
    for path in map(Path, sys.path):
        if path.name == "src" and (path.parent / "pyproject.toml").is_file():
            text = (path.parent / "pyproject.toml").read_text(encoding="utf-8")
            return {f"prefect_{name}" for name in re.findall(r'^ +"prefect-(\w+)', text, re.MULTILINE)}
    return None


def entry_points(**params: Any) -> metadata.EntryPoints:
    """Find entry points as `importlib.metadata.entry_points` does."""
    found = plain(**params)
    if params.get("group") != "prefect.collections" or (packages := chosen()) is None:
        return found
    return metadata.EntryPoints(each for each in found if each.module.partition(".")[0] in packages)


metadata.entry_points = entry_points
