"""High-water marks in the database, in the same database as the rows: one row per source."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Column, Connection, Dialect, String, Table, bindparam, delete, select, update

from .names import Mark, checked, next_load
from .tables import internal
from .upserts import database, insert

__all__ = ["JOBS", "WITH_ROWS", "change", "forget", "read", "status"]

WITH_ROWS = True
"""Whether a mark moves in the transaction of its rows."""

sources = Table(
    "high_water_marks",
    internal,
    Column("source", String(200), primary_key=True),
    Column("value", String(40)),
    Column("load", String(32), nullable=False),
    Column("began", String(40)),
)

JOBS = (sources.c.source,)
"""The columns of the database that hold full names of jobs."""


class _Statements:
    """The compiled SQL that reads and changes a mark: SQLAlchemy's `execute` would be most of its cost in a step."""

    def __init__(self, dialect: Dialect) -> None:
        this = sources.c.source == bindparam("this")
        new: dict[str, Any] = {name: bindparam(f"new_{name}") for name in Mark._fields}
        changed = update(sources).where(this, sources.c.load == bindparam("before")).values(new)
        self.read = self._compiled(select(*(sources.c[name] for name in Mark._fields)).where(this), dialect)
        self.change = self._compiled(changed.returning(sources.c.load), dialect)

    @staticmethod
    def _compiled(statement: Any, dialect: Dialect) -> tuple[str, Sequence[str] | None]:
        compiled = statement.compile(dialect=dialect)
        return str(compiled), compiled.positiontup


_statements = cache(_Statements)


def read(source: str) -> Mark:
    """Return the mark of a source; create one without a value if there is none."""
    new = next_load(None)
    with database().begin() as connection:
        values = {"source": checked(source, "source"), **new._asdict()}
        connection.execute(insert(sources).values(values).on_conflict_do_nothing())
        return _read(connection, source) or new


def change(source: str, decide: Callable[[Mark], Mark | None], connection: Connection | None = None) -> None:
    """Change the mark of a source, if it has one.

    Args:
        source: the full name of the source.
        decide: takes the current mark and returns the new one, or None to leave it. May be called more than once.
        connection: in a transaction, which the change becomes part of. Without one, the change has its own.
    """
    if connection is None:
        with database().begin() as own:
            return change(source, decide, own)
    statements = _statements(connection.dialect)
    while (before := _read(connection, source)) and (after := decide(before)):
        new = {f"new_{name}": value for name, value in after._asdict().items()}
        # The update waits for another process, and matches no row if that one has changed the mark: then try again.
        if _run(connection, statements.change, this=source, before=before.load, **new):
            break
    return None


def forget(source: str) -> bool:
    """Delete the mark of a source. Return whether it had one."""
    with database().begin() as connection:
        gone = delete(sources).where(sources.c.source == source).returning(sources.c.load)
        return connection.execute(gone).first() is not None


def status() -> list[tuple[str, str]]:
    """Return the name and mark of each source that has been loaded, by name."""
    with database().connect() as connection:
        rows = connection.execute(select(sources.c.source, sources.c.value).order_by(sources.c.source))
        return [(source, value) for source, value in rows if value]


def _read(connection: Connection, source: str) -> Mark | None:
    row = _run(connection, _statements(connection.dialect).read, this=source)
    return Mark(*row) if row else None


def _run(connection: Connection, statement: tuple[str, Sequence[str] | None], **values: str | None) -> Any:
    sql, order = statement
    return connection.exec_driver_sql(sql, tuple(values[name] for name in order) if order else values).first()
