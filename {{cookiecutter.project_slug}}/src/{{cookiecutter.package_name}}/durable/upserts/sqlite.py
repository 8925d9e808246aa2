"""The database sink, on SQLite: one row a key, however often it is written.

An upsert may be repeated without harm, and a repeat changes nothing. That each is done at all, and exactly once, is for
what surrounds it to promise.
"""

import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from decimal import Decimal
from functools import cache, lru_cache
from typing import Any

from pydantic import SecretStr
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    DateTime,
    Dialect,
    Engine,
    Float,
    Integer,
    Numeric,
    Table,
    TypeDecorator,
    bindparam,
    case,
    create_engine,
    event,
    func,
    literal_column,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import ArgumentError, DisconnectionError, OperationalError, SQLAlchemyError
from sqlalchemy.types import TypeEngine

from . import migrations, tables
from .masking import mask_errors
from .rows import Columns, Shape, UpsertReport, batches, in_units, json_text, outside
from .settings import ProjectSettings


class DatabaseSettings(ProjectSettings):
    """Where the tables are."""

    database_url: SecretStr = SecretStr("")
    """An SQLAlchemy URL, `sqlite:///FILE`; empty: the file `database.db` in `home`."""


database_settings = DatabaseSettings()
LOCAL = "tables"
"""What of this module is on this machine alone: workers elsewhere do not reach it."""
WRITES = True
"""Whether rows are written to a database: without one, stored results are all that comes of a chunk."""
ROW_LOCKS = False
"""Whether a transaction may lock rows, and stay open, while others read and write."""
CONTAINER_URL = ""
"""The database of `compose.yaml`, as runs in containers reach it."""
ERRORS: tuple[type[Exception], ...] = (SQLAlchemyError,)
"""What fails where the database does."""

BATCH = 5000
"""Rows in memory at a time."""

MET = "met"
FILE = "file"

__all__ = ["Connection", "ExactNumeric", "UpsertReport", "database", "insert", "upsert"]


@cache
def database() -> Engine:
    """The project's database, one engine a process. The file is made on first use."""
    url = tables.file_url(database_settings.database_url.get_secret_value(), "sqlite", "database.db")
    # SQLite has one writer at a time. Threads queue for this process's one connection, which wastes less time than
    # SQLite's own waiting, by which processes wait for each other. Steps are short: after a minute, something hangs.
    engine = create_engine(
        url,
        pool_size=1,
        max_overflow=0,
        pool_timeout=60,
        connect_args={"timeout": 60},
        json_serializer=json_text,
        hide_parameters=True,
    )
    # SQLite names columns, and quotes no values.
    mask_errors(engine, str)

    @event.listens_for(engine, "connect")
    def configure(connection: Any, record: Any) -> None:
        # The driver's own transactions begin as readers, who cannot always become writers; ours begin below.
        connection.isolation_level = None
        # Others can read the file meanwhile. FULL: what is committed survives a loss of power, not only of the process.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        record.info[FILE] = _file(engine)
        met = record.info[MET] = [0]

        def meet() -> int:
            met[0] += 1
            return 1

        # How many rows an upsert has met: SQLite tells only how many it has written.
        connection.create_function("met", 0, meet)

    @event.listens_for(engine, "checkout")
    def look(connection: Any, record: Any, proxy: Any) -> None:
        # A process that lives long, such as a cluster's worker, would go on writing to a file that was deleted.
        if record.info[FILE] != _file(engine):
            raise DisconnectionError

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        try:
            # On the driver: this is a good part of the cost of a short transaction.
            connection.connection.dbapi_connection.execute("BEGIN IMMEDIATE")  # type: ignore[union-attr]
        except sqlite3.OperationalError as error:
            raise OperationalError("BEGIN IMMEDIATE", None, error) from error

    return engine


def _file(engine: Engine) -> tuple[int, int] | None:
    try:
        found = os.stat(engine.url.database or "")
    except OSError:
        return None
    return found.st_dev, found.st_ino


def prepare(upgrade: bool = False) -> str:
    """Create the tables in a new database; in another one, look that all are there. Idempotent.

    Args:
        upgrade: whether to apply migrations that the database does not have.

    Returns:
        One line that says where the tables are.

    Raises:
        MissingTablesError: the database lacks a table, which a migration has to create.
    """
    migrations.prepare(database(), upgrade)
    return f"tables are ready in {database().url}"


def pending() -> list[str]:
    """Return the migrations that the database lacks, oldest first."""
    return migrations.pending(database())


def table_names() -> set[str]:
    """Return the names that tables have, those of `durable` included."""
    return {*tables.metadata.tables, *tables.internal.tables}


def add_tables(names: list[str]) -> list[str]:
    """Write the migration that creates tables, and apply it; return what was written, a line each."""
    return [migrations.add_tables(database(), [tables.metadata.tables[name] for name in names])]


def transaction() -> AbstractContextManager[Connection]:
    """Return a transaction: it commits when its context ends, and rolls back when that raises."""
    return database().begin()


def epoch() -> str:
    """Return the name of this filling of the tables; see `tables.epoch`."""
    return tables.epoch(database())


def endpoints() -> dict[str, str]:
    """Return the settings with URLs that workers must reach, by the names of their variables: none."""
    return {}


def upsert(
    connection: Connection,
    table: Table,
    rows: Iterable[Mapping[str, Any]],
    *,
    key: Iterable[str] | None = None,
    newer: str | None = None,
) -> UpsertReport:
    """Insert rows, update those whose key exists and whose values differ, and leave the others untouched.

    Of rows with one key the last counts, or with `newer` the newest, and the last of these. Columns that the rows do
    not have keep their value; in a new row they take the database's default. None is NULL, in a JSON column too.

    Args:
        connection: of `database()`, in a transaction, which the caller commits.
        table: its columns tell what the rows may hold.
        rows: of any number, all with the same columns; 5000 are in memory at a time.
        key: the columns that tell rows apart, with a unique constraint; the primary key unless given.
        newer: a column, such as a version or a time of change; a row is updated only where this one's is greater.

    Returns:
        The number of rows inserted, updated and left unchanged. A key that stands again so far down that it is not in
        memory at the same time is counted again.

    Raises:
        ValueError: the table has no such key; a row has other columns than the first one, or a column that the table
            does not have; a value cannot be kept as it is, or is missing in the key. Nothing is written.
    """
    report = UpsertReport()
    # So that nothing is written where a later batch is refused.
    with connection.begin_nested():
        for shape, columns in batches(table, rows, key, newer, dialect=connection.dialect, check=_unfit, size=BATCH):
            report += _write(connection, shape, columns)
    return report


def _write(connection: Connection, shape: Shape, columns: Columns) -> UpsertReport:
    # Run on the driver: SQLAlchemy has written the SQL and quoted the names, but its `execute` costs twice the insert.
    statement = _statement(shape, connection.dialect)
    for place, encode in statement.encoders:
        columns[place] = encode(columns[place])
    columns += [[value] * len(columns[0]) for value in statement.fixed]
    rows = list(zip(*(columns[place] for place in statement.order), strict=True))
    met = connection.info[MET]
    before = met[0]
    written = connection.exec_driver_sql(statement.sql, rows).rowcount
    known = met[0] - before if shape.others else len(rows) - written
    return UpsertReport(len(rows) - known, written - len(rows) + known, len(rows) - written)


class _Statement:
    """The statement for rows of one shape, and what makes of its columns what the driver takes."""

    def __init__(self, shape: Shape, dialect: Dialect) -> None:
        new = insert(shape.table).values({name: bindparam(name, required=False) for name in shape.names})
        # CASE, for it is sure to count before it compares.
        where = case((func.met() == literal_column("1"), shape.changed(new.excluded)), else_=literal_column("0"))
        compiled = shape.on_conflict(new, where).compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
        self.sql = str(compiled)
        # An `onupdate` may have parameters of its own, of the same value for all rows.
        own = [name for name in compiled.positiontup if name not in shape.names]
        self.fixed = [compiled.params[name] for name in own]
        # The parameters stand in the order of the table's columns, whatever that of the rows' is.
        self.order = [(*shape.names, *own).index(name) for name in compiled.positiontup]
        encoders = (_encoder(kind, dialect) for kind in shape.kinds)
        self.encoders = [(place, encode) for place, encode in enumerate(encoders) if encode]


_statement = lru_cache(maxsize=100)(_Statement)


def _encoder(kind: TypeEngine[Any], dialect: Dialect) -> Callable[[Sequence[Any]], Sequence[Any]] | None:
    process = kind.dialect_impl(dialect).bind_processor(dialect)
    match kind:
        case JSON():
            return lambda values: [None if value is None else json_text(value) for value in values]
        case Boolean():
            return lambda values: [None if value is None else int(value) for value in values]
        case DateTime():
            return _moments
    return (lambda values: [process(value) for value in values]) if process else None


def _moments(values: Sequence[datetime | None]) -> Sequence[str | None]:
    # As SQLAlchemy writes them, which takes longer; a zone would stand behind the 26 characters.
    if len({*values[:100]}) > 50:
        return [None if value is None else value.isoformat(" ", "microseconds")[:26] for value in values]
    # Rows of a chunk often share few moments.
    texts = {value: value.isoformat(" ", "microseconds")[:26] for value in {*values} if value is not None}
    return [None if value is None else texts[value] for value in values]


def _unfit(column: Column[Any], kind: TypeEngine[Any], values: Sequence[Any]) -> str | None:
    match column.type:
        case DateTime(timezone=True):
            return "SQLite keeps no time zone; declare the column as durable.UtcDateTime"
        case Numeric() if not isinstance(kind, Float):
            return "SQLite keeps no exact fractions; declare the column as durable.ExactNumeric(precision, scale)"
    match kind:
        case Integer():
            return outside(values)
        case Float() if any(value != value for value in values):
            return "SQLite stores NaN as NULL"
        case JSON() if reason := outside([value for value in values if type(value) is int]):
            return f"{reason}, as SQLite keeps a number that is all of a JSON value"
    return None


class ExactNumeric(TypeDecorator[Decimal]):
    """A decimal number, kept exactly: as an integer of its smallest unit, which SQLite compares and sums rightly.

    Args:
        precision: digits in all, at most 18.
        scale: digits after the point.
    """

    impl = Numeric
    cache_ok = True

    def __init__(self, precision: int, scale: int) -> None:
        if not 0 <= scale <= precision <= 18:
            raise ArgumentError(f"ExactNumeric({precision}, {scale}): SQLite's integers hold 18 digits")
        super().__init__(precision, scale)
        self.precision, self.scale = precision, scale

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return BigInteger()

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> int | None:
        if value is None:
            return None
        if not isinstance(value, Decimal | int):
            raise ValueError(f"{type(value).__name__} where Decimal is wanted")
        return in_units(Decimal(value), self.precision, self.scale)

    def process_result_value(self, value: int | None, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value).scaleb(-self.scale)
