"""The database sink, on SQLite: one row a key, however often it is written.

Exactly once is not promised here but by what surrounds it: an upsert may be repeated without harm, and a repeat changes
nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import islice
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Dialect,
    Engine,
    Table,
    bindparam,
    create_engine,
    event,
    or_,
)
from sqlalchemy.dialects.sqlite import Insert, insert
from sqlalchemy.exc import ArgumentError

from .settings import settings

BATCH = 5000
"""Rows in memory at a time."""

__all__ = ["UpsertReport", "database", "insert", "upsert"]


@dataclass(frozen=True)
class UpsertReport:
    """What an upsert did, counted in rows of the table."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    """Rows that were there already with the same values; nothing was written for them."""

    def __add__(self, other: "UpsertReport") -> "UpsertReport":
        return UpsertReport(
            self.inserted + other.inserted,
            self.updated + other.updated,
            self.unchanged + other.unchanged,
        )


@cache
def database() -> Engine:
    """The project's database, one engine a process. The file is made on first use."""
    url: str | URL = settings.database_url.get_secret_value()
    if url and not str(url).startswith("sqlite:///"):
        raise ArgumentError("the setting DATABASE_URL must begin with sqlite:///, for this project writes to SQLite")
    if not url:
        settings.home.mkdir(parents=True, exist_ok=True)
        url = URL.create("sqlite", database=str(settings.home / "flights.db"))
    # SQLite has one writer at a time. Threads queue for this process's one connection, which wastes less time than
    # SQLite's own waiting, by which processes wait for each other. Steps are short: after a minute, something hangs.
    engine = create_engine(url, pool_size=1, max_overflow=0, pool_timeout=60, connect_args={"timeout": 60})

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        # The driver's own transactions begin as readers, who cannot always become writers; ours begin below.
        connection.isolation_level = None
        # Others can read the file meanwhile. FULL: what is committed survives a loss of power, not only of the process.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def upsert(connection: Connection, table: Table, rows: Iterable[Mapping[str, Any]]) -> UpsertReport:
    """Insert rows, update those whose key exists and whose values differ, and leave the others untouched.

    Of rows with the same key the last one wins. Columns that the rows do not have keep their value.

    Args:
        connection: in a transaction, which the caller commits.
        table: with a primary key, which tells rows apart.
        rows: of any number, all with the same columns; read in batches of 5000.

    Returns:
        The number of rows inserted, updated and left unchanged.

    Raises:
        ValueError: a table without a key, a row with other columns than the first, a column that the table does not
            have, or an empty value in the key. Nothing of that batch is written; roll back.
    """
    iterator = iter(rows)
    report = UpsertReport()
    statements = None
    while batch := list(islice(iterator, BATCH)):
        statements = statements or _Statements.compiled(connection.dialect, table, tuple(batch[0]))
        report += statements.run(connection, batch)
    return report


class _Statements:
    """The two statements for one table and one set of columns, compiled once a process and run on the driver.

    SQLAlchemy writes the SQL, quotes the names and converts the values; its `execute` is passed by, for it costs twice
    the insert itself.
    """

    @classmethod
    @lru_cache(maxsize=100)
    def compiled(cls, dialect: Dialect, table: Table, names: tuple[str, ...]) -> "_Statements":
        return cls(dialect, table, names)

    def __init__(self, dialect: Dialect, table: Table, names: tuple[str, ...]) -> None:
        key = [column.name for column in table.primary_key]
        if not key:
            raise ValueError(f"table {table.name} has no primary key to tell rows apart")
        if unknown := sorted(set(names) - set(table.columns.keys())):
            raise ValueError(f"table {table.name} has no column {', '.join(unknown)}")
        if missing := sorted(set(key) - set(names)):
            raise ValueError(f"rows for table {table.name} lack the key column {', '.join(missing)}")
        self.names = names
        self.columns = set(names)
        self.key = key
        self.values = itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)
        place = [names.index(name) for name in key]
        self.key_of = itemgetter(*place) if len(place) > 1 else lambda row: (row[place[0]],)
        self.converters = [
            (place, convert)
            for place, name in enumerate(names)
            if (convert := table.c[name].type.dialect_impl(dialect).bind_processor(dialect))
        ]

        new: Insert = insert(table).values({name: bindparam(name) for name in names})
        others = {name: new.excluded[name] for name in names if name not in key}
        changed = [table.c[name].is_distinct_from(value) for name, value in others.items()]
        only_new = new.on_conflict_do_nothing(index_elements=key)
        self.insert = str(only_new.compile(dialect=dialect))
        self.update = None
        if others:
            only_changed = new.on_conflict_do_update(index_elements=key, set_=others, where=or_(*changed))
            self.update = str(only_changed.compile(dialect=dialect))

    def run(self, connection: Connection, batch: Sequence[Mapping[str, Any]]) -> UpsertReport:
        rows = self._rows(batch)
        inserted = connection.exec_driver_sql(self.insert, rows).rowcount
        updated = 0
        if self.update and inserted < len(rows):
            # Those just inserted equal what is written, so they do not count as updated.
            updated = connection.exec_driver_sql(self.update, rows).rowcount
        return UpsertReport(inserted, updated, len(rows) - inserted - updated)

    def _rows(self, batch: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
        """The batch as tuples for the driver, one a key, the last one of each, sorted by key."""
        for row in batch:
            # Nearly always in the same order too, which is cheaper to see.
            if tuple(row) != self.names and row.keys() != self.columns:
                raise ValueError(
                    f"a row has the columns {', '.join(map(str, row))}; the first one has {', '.join(self.names)}"
                )
        columns: list[Iterable[Any]] = list(zip(*map(self.values, batch), strict=True))
        for place, convert in self.converters:
            columns[place] = map(convert, columns[place])
        by_key = {self.key_of(row): row for row in zip(*columns, strict=True)}
        for key in by_key:
            if None in key:
                raise ValueError(f"a row has no value in its key {', '.join(self.key)}: {key}")
        return [by_key[key] for key in sorted(by_key)]
