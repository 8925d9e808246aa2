"""The high-water marks of sources: a row each, in the database that their rows are in."""

from collections.abc import Callable

from sqlalchemy import Column, Connection, String, Table, delete, select, update

from .names import Mark, checked, next_load
from .tables import internal
from .upserts import database, insert

__all__ = ["WITH_ROWS", "change", "forget", "read", "status"]

WITH_ROWS = True
"""Whether a mark moves in the transaction of the rows that it stands for."""

sources = Table(
    "high_water_marks",
    internal,
    Column("source", String(200), primary_key=True),
    Column("value", String(40)),
    Column("load", String(32), nullable=False),
    Column("began", String(40)),
)


def read(source: str) -> Mark:
    """Return the mark of a source; it gets one without a value where it has none."""
    new = next_load(None)
    with database().begin() as connection:
        values = {"source": checked(source, "source"), **new._asdict()}
        connection.execute(insert(sources).values(values).on_conflict_do_nothing())
        return _read(connection, source) or new


def change(source: str, decide: Callable[[Mark], Mark | None], connection: Connection | None = None) -> None:
    """Change the mark of a source, unless it has none.

    Args:
        source: its full name.
        decide: takes the mark as it is and returns the new one, or None to leave it. May be called more than once.
        connection: in a transaction, which the change becomes part of; a transaction of its own unless given.
    """
    if connection is None:
        with database().begin() as own:
            return change(source, decide, own)
    while (before := _read(connection, source)) and (after := decide(before)):
        same = (sources.c.source == source, sources.c.load == before.load)
        changed = update(sources).where(*same).values(**after._asdict()).returning(sources.c.load)
        # Nothing is changed where another process has done so meanwhile: its transaction has been waited for.
        if connection.execute(changed).first():
            break
    return None


def forget(source: str) -> bool:
    """Remove the mark of a source. Return whether it had one."""
    with database().begin() as connection:
        gone = delete(sources).where(sources.c.source == source).returning(sources.c.load)
        return connection.execute(gone).first() is not None


def status() -> list[tuple[str, str]]:
    """Return the sources that have been loaded, by name, and the value of each one's mark."""
    with database().connect() as connection:
        rows = connection.execute(select(sources.c.source, sources.c.value).order_by(sources.c.source))
        return [(source, value) for source, value in rows if value]


def _read(connection: Connection, source: str) -> Mark | None:
    mark = select(sources.c.value, sources.c.load, sources.c.began).where(sources.c.source == source)
    row = connection.execute(mark).first()
    return Mark(*row) if row else None
