"""High-water marks in files, one per source. A mark moves after its rows are written."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from filelock import FileLock

from .names import Mark, checked, next_load
from .parts import part, sync_folder
from .settings import settings
from .upserts import Connection

__all__ = ["JOBS", "WITH_ROWS", "change", "forget", "read", "status"]

JOBS = ()
"""The columns of the database that hold full names of jobs: none."""
WITH_ROWS = False
"""Whether a mark moves in the transaction of its rows."""


def read(source: str) -> Mark:
    """Return the mark of a source; create one without a value if there is none."""
    path = _path(checked(source, "source"))
    path.parent.mkdir(parents=True, exist_ok=True)
    with _lock(path):
        if (found := _read(path)) is None:
            found = next_load(None)
            _write(path, source, found)
    return found


def change(source: str, decide: Callable[[Mark], Mark | None], connection: Connection | None = None) -> None:
    """Change the mark of a source, if it has one.

    Args:
        source: the full name of the source.
        decide: takes the current mark and returns the new one, or None to leave it.
        connection: not used: a file cannot be part of a transaction.
    """
    path = _path(source)
    if path.exists():
        with _lock(path):
            if (before := _read(path)) and (after := decide(before)):
                _write(path, source, after)


def forget(source: str) -> bool:
    """Delete the mark of a source. Return whether it had one."""
    path = _path(source)
    if not path.exists():
        return False
    with _lock(path):
        path.unlink(missing_ok=True)
        sync_folder(path.parent)
    return True


def status() -> list[tuple[str, str]]:
    """Return the name and mark of each source that has been loaded, by name."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in _folder().glob("*.json")]
    return sorted((mark["source"], mark["value"]) for mark in found if mark["value"])


def _folder() -> Path:
    return settings.home / "high-water"


def _path(source: str) -> Path:
    return _folder() / f"{part(source)}.json"


def _lock(path: Path) -> FileLock:
    return FileLock(path.with_suffix(".lock"))


def _read(path: Path) -> Mark | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Mark(content["value"], content["load"], content["began"])


def _write(path: Path, source: str, mark: Mark) -> None:
    """Write a mark completely or not at all, and flush it to disk."""
    new = path.with_name(f"{path.name}.{uuid4().hex}.part")
    with new.open("x", encoding="utf-8") as file:
        json.dump({"source": source, **mark._asdict()}, file)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_folder(path.parent)
