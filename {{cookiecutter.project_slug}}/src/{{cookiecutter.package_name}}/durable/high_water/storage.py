"""The high-water marks of sources: an object each, beside the results. One moves after the rows that it stands for.

Nothing is locked: of two runs that end at the same moment the earlier mark may stay. The next run then reads again what
lies between the two, which an upsert makes harmless.
"""

import json
from collections.abc import Callable

from . import marks
from .names import Mark, checked, next_load
from .parts import part
from .upserts import Connection

__all__ = ["WITH_ROWS", "change", "forget", "read", "status"]

WITH_ROWS = False
"""Whether a mark moves in the transaction of the rows that it stands for."""

FOLDER = "high-water/"
"""No job has that folder: the name of each of theirs ends with a digest."""


def read(source: str) -> Mark:
    """Return the mark of a source; it gets one without a value where it has none."""
    marks.refresh()
    found = _read(_name(checked(source, "source")))
    if found is None:
        found = next_load(None)
        _write(source, found)
    return found


def change(source: str, decide: Callable[[Mark], Mark | None], connection: Connection | None = None) -> None:
    """Change the mark of a source, unless it has none.

    Args:
        source: its full name.
        decide: takes the mark as it is and returns the new one, or None to leave it.
        connection: not used: an object is no part of a transaction.
    """
    if (before := _read(_name(source))) and (after := decide(before)):
        _write(source, after)


def forget(source: str) -> bool:
    """Remove the mark of a source. Return whether it had one."""
    known = marks.read(_name(source)) is not None
    if known:
        marks.delete(_name(source))
    return known


def status() -> list[tuple[str, str]]:
    """Return the sources that have been loaded, by name, and the value of each one's mark."""
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
