"""The database sink: none. What comes of a chunk is its stored result."""

from collections.abc import Iterator
from contextlib import contextmanager

LOCAL = ""
"""What of this module is on this machine alone: nothing."""
WRITES = False
"""Whether rows are written to a database: without one, stored results are all that comes of a chunk."""
CONTAINER_URL = ""
"""The database of `compose.yaml`, as runs in containers reach it: none."""
ERRORS: tuple[type[Exception], ...] = ()
"""What fails where the database does."""


class Connection:
    """What a step yields in place of a database's connection."""


@contextmanager
def transaction() -> Iterator[Connection]:
    """Yield what stands for a transaction."""
    yield Connection()


def prepare(upgrade: bool = False) -> str:
    """Create the tables: none. Return nothing to say."""
    return ""


def pending() -> list[str]:
    """Return the migrations that the database lacks: there are none."""
    return []


def table_names() -> set[str]:
    """Return the names that tables have: there are none."""
    return set()


def add_tables(names: list[str]) -> list[str]:
    """Write the migration that creates tables: there are none."""
    return []


def epoch() -> str:
    """Return the name of this filling of the tables: none."""
    return ""


def endpoints() -> dict[str, str]:
    """Return the settings with URLs that workers must reach: none."""
    return {}
