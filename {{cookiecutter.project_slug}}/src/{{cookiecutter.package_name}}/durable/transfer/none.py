"""Transfer of a database's rows to another database: there is none."""

from collections.abc import Callable

from .errors import InputError


def export() -> list[str]:
    """Raise InputError: there are no rows to write."""
    raise InputError("this project has no database; there is nothing to carry over")


def carry(say: Callable[[str], None]) -> None:
    """Raise InputError: there is no database to read rows into."""
    raise InputError("this project has no database; there is nothing to carry rows to")
