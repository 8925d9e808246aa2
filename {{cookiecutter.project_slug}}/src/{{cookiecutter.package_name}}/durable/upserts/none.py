"""No database sink: the output of a chunk is its stored result."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

LOCAL = ""
"""The data of this module that exists on this machine only: none."""
WRITES = False
"""Whether rows are written to a database: without one, stored results are the only output of chunks."""
CONTAINER_URL = ""
"""The URL of the database in `compose.yaml` for runs in containers: none."""
ERRORS: tuple[type[Exception], ...] = ()
"""The exceptions of a failing database: none."""
MISTAKES: tuple[type[Exception], ...] = ()
"""Those of a wrong setting or a missing migration: none."""


class Connection:
    """A placeholder for the database connection that a step yields."""


@contextmanager
def transaction() -> Iterator[Connection]:
    """Yield a placeholder: without a database there are no transactions."""
    yield Connection()


def prepare(upgrade: bool = False) -> str:
    """Create no tables, and return an empty message."""
    return ""


def place() -> str:
    """Return an empty URL: there is no database."""
    return ""


def probe() -> None:
    """Check nothing: there is no database."""


def check_rights() -> str:
    """Return nothing: there is no database."""
    return ""


def check_rows(but: Sequence[str]) -> None:
    """Check nothing: there is no database."""


def pending() -> list[str]:
    """Return no migrations."""
    return []


def table_names() -> set[str]:
    """Return no table names."""
    return set()


def add_tables(names: list[str]) -> list[str]:
    """Write no migration."""
    return []


def epoch() -> str:
    """Return an empty database id."""
    return ""


def endpoints() -> dict[str, str]:
    """Return no settings with URLs."""
    return {}
