"""What a job and its steps are called, and how far a job and a source are."""

from collections.abc import Iterable
from typing import NamedTuple
from uuid import uuid4

LONGEST = 200
"""Characters of a name."""


class JobStatus(NamedTuple):
    """How far a job is, in steps."""

    job: str
    done: int
    total: int


class Mark(NamedTuple):
    """The high-water mark of a source, and the load that comes next or is at work."""

    value: str | None = None
    """Up to where the source is loaded; None where it is not."""
    load: str = ""
    """The name of the load, and of no other."""
    began: str | None = None
    """When the load began, in ISO 8601; None where it has not."""


def next_load(value: str | None, began: str | None = None) -> Mark:
    """Return a mark with a load that no other one has the name of."""
    return Mark(value, uuid4().hex, began)


def checked(name: str, what: str) -> str:
    """Return a name that can be kept, unchanged.

    Args:
        name: of a job or a step.
        what: which of them, for the error.

    Raises:
        ValueError: it is empty, longer than 200 characters, or holds what no database and no file takes: a zero byte
            or half of a character (a lone surrogate); or it is no text.
    """
    if not isinstance(name, str):
        raise ValueError(f"the name of a {what} is text, and not {name!r}")
    if not name:
        raise ValueError(f"a {what} has an empty name; give it one of 1 to {LONGEST} characters")
    if len(name) > LONGEST:
        raise ValueError(
            f"the name of a {what} has {len(name)} characters, at most {LONGEST} are kept: {name[:40]!r}…;"
            " shorten it, or use a digest of it"
        )
    if "\x00" in name:
        raise ValueError(f"the name of a {what} holds a zero byte: {name!r}")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the name of a {what} holds half of a character (a surrogate): {name!r}") from error
    return name


def once(keys: Iterable[str]) -> dict[str, None]:
    """Return the names of steps, each once and in their order, when all of them can be kept.

    Raises:
        ValueError: one of them cannot; see `checked`.
    """
    if isinstance(keys, str):
        raise ValueError(f"steps are given as a list, and not as one text: {keys!r}")
    names = dict.fromkeys(keys)
    # All at once where nothing is in doubt, for a million of them take a second one by one.
    if {*map(type, names)} == {str}:
        whole = "".join(names)
        if whole.isascii() and "\x00" not in whole and all(0 < length <= LONGEST for length in {*map(len, names)}):
            return names
    for name in names:
        checked(name, "step")
    return names
