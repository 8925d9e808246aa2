"""High-water marks beside the stored results, one object per source. A mark moves after its rows are written.

Nothing is locked: if two runs end at the same time, the lower mark may stay. The next run then reads the records
between the two again, which an idempotent upsert makes harmless.
"""

import json
from collections.abc import Callable

from . import marks
from .names import Mark, checked, next_load
from .parts import part
from .upserts import Connection

__all__ = ["JOBS", "WITH_ROWS", "change", "forget", "read", "status"]

JOBS = ()
"""The columns of the database that hold full names of jobs: none."""
WITH_ROWS = False
"""Whether a mark moves in the transaction of its rows."""

FOLDER = "high-water/"
"""The folder of the marks. No job has this folder: a job's folder ends with a digest."""


def read(source: str) -> Mark:
    """Return the mark of a source; create one without a value if there is none."""
    marks.refresh()
    found = _read(_name(checked(source, "source")))
    if found is None:
        found = next_load(None)
        _write(source, found)
    return found


def change(source: str, decide: Callable[[Mark], Mark | None], connection: Connection | None = None) -> None:
    """Change the mark of a source, if it has one.

    Args:
        source: the full name of the source.
        decide: takes the current mark and returns the new one, or None to leave it.
        connection: not used: an object cannot be part of a transaction.
    """
    if (before := _read(_name(source))) and (after := decide(before)):
        _write(source, after)


def forget(source: str) -> bool:
    """Delete the mark of a source. Return whether it had one."""
    known = marks.read(_name(source)) is not None
    if known:
        marks.delete(_name(source))
    return known


def status() -> list[tuple[str, str]]:
    """Return the name and mark of each source that has been loaded, by name."""
    marks.refresh()
    contents = [marks.read(f"{FOLDER}{name}") for name in marks.names(FOLDER)]
    found = [json.loads(content) for content in contents if content is not None]
    return sorted((mark["source"], mark["value"]) for mark in found if mark["value"])


def _name(source: str) -> str:
    return f"{FOLDER}{part(source)}.json"


def _read(name: str) -> Mark | None:
    content = marks.read(name)
    if content is None:
        return None
    found = json.loads(content)
    return Mark(found["value"], found["load"], found["began"])


def _write(source: str, mark: Mark) -> None:
    marks.write(_name(source), json.dumps({"source": source, **mark._asdict()}).encode())
