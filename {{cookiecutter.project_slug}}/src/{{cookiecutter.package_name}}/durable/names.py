"""Names of jobs and steps, and the progress of jobs and sources."""

from collections.abc import Iterable
from typing import NamedTuple
from uuid import uuid4

LONGEST = 200
"""The maximum number of characters in a name."""


class JobStatus(NamedTuple):
    """The progress of a job, in steps."""

    job: str
    done: int
    total: int


class Mark(NamedTuple):
    """The high-water mark of a source, and its next or current load."""

    value: str | None = None
    """The mark; None if the source has not been loaded."""
    load: str = ""
    """The unique name of the load."""
    began: str | None = None
    """When the load began, in ISO 8601; None if it has not."""


def next_load(value: str | None, began: str | None = None) -> Mark:
    """Return a mark with a new, unique load name."""
    return Mark(value, uuid4().hex, began)


def checked(name: str, what: str) -> str:
    """Validate a name, and return it unchanged.

    Args:
        name: the name of a job, a step or an item.
        what: which of them, for the error.

    Raises:
        ValueError: the name is not a string, is empty, has more than 200 characters, or contains a zero byte or half of
            a character (a lone surrogate), which no database and no file takes.
    """
    if not isinstance(name, str):
        raise ValueError(f"the name of the {what} is text, and not {name!r}")
    if not name:
        raise ValueError(f"the name of the {what} is empty; give it 1 to {LONGEST} characters")
    if len(name) > LONGEST:
        raise ValueError(
            f"the name of the {what} has {len(name)} characters, at most {LONGEST} are kept: {name[:40]!r}…;"
            " shorten it, or use a digest of it"
        )
    if "\x00" in name:
        raise ValueError(f"the name of the {what} holds a zero byte: {name!r}")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the name of the {what} holds half of a character (a surrogate): {name!r}") from error
    return name


def once(keys: Iterable[str], what: str = "step") -> dict[str, None]:
    """Remove duplicates from names, in order, and validate the names.

    Args:
        keys: the names of steps or items.
        what: which of them, for the error.

    Raises:
        ValueError: a name is invalid; see `checked`.
    """
    if isinstance(keys, str):
        raise ValueError(f"{what}s are given as a list, and not as one text: {keys!r}")
    names = dict.fromkeys(keys)
    # Plain names are checked together, because a million of them one by one take a second.
    if {*map(type, names)} == {str}:
        whole = "".join(names)
        if whole.isascii() and "\x00" not in whole and all(0 < length <= LONGEST for length in {*map(len, names)}):
            return names
    for name in names:
        checked(name, what)
    return names
