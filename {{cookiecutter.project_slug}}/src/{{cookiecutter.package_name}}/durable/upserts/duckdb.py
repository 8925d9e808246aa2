"""The database sink, DuckDB: idempotent upserts.

Repeating an upsert changes nothing. The upsert alone does not guarantee that it happens, or exactly once: its step and
the checkpoint do. Only one process at a time can open a DuckDB file.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from decimal import Decimal
from functools import lru_cache
from typing import Any

import duckdb
import pyarrow as pa
import sqlalchemy
from pydantic import SecretStr
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Date,
    DateTime,
    Dialect,
    Double,
    Engine,
    Float,
    Integer,
    LargeBinary,
    Numeric,
    SmallInteger,
    Table,
    Uuid,
    cast,
    column,
    create_engine,
    event,
    func,
    select,
    text,
)
from sqlalchemy import table as table_named
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.types import TypeEngine

from . import tables
from .masking import mask_errors, masked
from .rows import Columns, Shape, UpsertReport, batches, json_text, outside
from .settings import ProjectSettings


class DatabaseSettings(ProjectSettings):
    """Where the tables are."""

    database_url: SecretStr = SecretStr("")
    """An SQLAlchemy URL, `duckdb:///FILE`; empty: the file `database.duckdb` in `home`."""


database_settings = DatabaseSettings()
LOCAL = "tables"
"""The data of this module that exists on this machine only: workers elsewhere cannot reach it."""
WRITES = True
"""Whether rows are written to a database: without one, stored results are the only output of chunks."""
ROW_LOCKS = False
"""Whether transactions can lock rows, and stay open while others read and write."""
CONTAINER_URL = ""
"""The URL of the database in `compose.yaml` for runs in containers: none."""
ERRORS: tuple[type[Exception], ...] = (SQLAlchemyError,)
"""The exceptions of a failing database."""
MISTAKES: tuple[type[Exception], ...] = (ArgumentError,)
"""Those of a wrong setting or a missing migration: their messages say what to do."""

BATCH = 50_000
"""Rows in memory at a time, and per statement: for DuckDB, many rows cost hardly more than a few."""
QUOTING = (
    duckdb.DataError,
    duckdb.FatalException,
    duckdb.IntegrityError,
    duckdb.InternalError,
    duckdb.InvalidInputException,
    duckdb.TransactionException,
)
"""Errors whose messages quote a value."""
ARRIVING = "arriving rows"
"""The name of the batch in a statement."""

__all__ = ["Connection", "ExactNumeric", "UpsertReport", "database", "insert", "upsert"]


@tables.OneEngine
def database() -> Engine:
    """Return the project's database: one engine per process. It creates the file on first use, and keeps it open."""
    url = tables.file_url(database_settings.database_url.get_secret_value(), "duckdb", "database.duckdb")
    # Threads queue for the process's one connection: if two transactions write one key, DuckDB fails the second.
    # Steps are short: after a minute, something hangs.
    engine = create_engine(url, pool_size=1, max_overflow=0, pool_timeout=60, hide_parameters=True)
    mask_errors(engine, _message)
    # duckdb-engine quotes fewer words than DuckDB reserves.
    words = "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category <> 'unreserved'"
    # Not by the module's connection, which other threads may use.
    with duckdb.connect() as memory:
        engine.dialect.identifier_preparer.reserved_words |= {word for (word,) in memory.execute(words).fetchall()}

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        connection.execute("SET TimeZone = 'UTC'")

    return engine


def _message(error: BaseException) -> str:
    # The rest quotes the statement, or rows.
    text = re.split("\n\nLINE |Chunk: ", str(error), maxsplit=1)[0]
    return masked(text) if isinstance(error, QUOTING) else text


def prepare(upgrade: bool = False) -> str:
    """Create the tables that the database lacks. Idempotent.

    Args:
        upgrade: not used: no migrations, as Alembic cannot read tables through duckdb-engine.

    Returns:
        A line that says where the tables are.

    Raises:
        ArgumentError: a table lacks a column, or has it with another type or fewer digits.
    """
    if tables.create(database()):
        tables.metadata.create_all(database())
    _check_columns()
    return f"tables are ready in {place()}"


def _check_columns() -> None:
    query = text("SELECT schema_name, table_name, column_name, data_type, numeric_scale FROM duckdb_columns()")
    columns = [each for table in tables.metadata.sorted_tables for each in table.columns]
    with database().connect() as connection:
        there = {tuple(names): (kind, scale or 0) for *names, kind, scale in connection.execute(query)}
        casts = [f"typeof(CAST(NULL AS {each.type.compile(connection.dialect)}))" for each in columns]
        kinds = connection.exec_driver_sql(f"SELECT [{', '.join(casts)}]").scalar_one()
    for each, here in zip(columns, kinds, strict=True):
        kind, scale = there.get((each.table.schema or "main", each.table.name, each.name), ("", 0))
        digits = getattr(each.type, "scale", None) or 0
        if not kind:
            differs = "is not in the database: bring it there with ALTER TABLE"
        elif kind.partition("(")[0] != here.partition("(")[0]:
            differs = f"is {kind} in the database, and {here} in the code: ALTER TABLE changes it"
        elif scale < digits:
            fewer = f"keeps {scale} digits after the point in the database, and {digits} in the code"
            differs = f"{fewer}: ALTER TABLE changes it"
        else:
            continue
        raise ArgumentError(f"the column {each.table.fullname}.{each.name} {differs}")


def place() -> str:
    """Return the database's URL, without its password."""
    return str(database().url)


def probe() -> None:
    """Check nothing: its messages say what to do."""


def check_rights() -> str:
    """Check that rows of all tables can be written, without writing any; return the version of DuckDB.

    Raises:
        DBAPIError: the database is read-only, or its user lacks a right.
    """
    with database().begin() as connection:
        tables.check_rights(connection)
    return f"DuckDB {duckdb.__version__}"


def check_rows(but: Sequence[str]) -> None:
    """Check nothing: no migration changes a table."""


def pending() -> list[str]:
    """Return no migrations."""
    return []


def table_names() -> set[str]:
    """Return the names of the tables that the code or the database has, those of `durable` included."""
    return tables.table_names(database())


def add_tables(names: list[str]) -> list[str]:
    """Write no migration: the next run creates missing tables."""
    return []


def transaction() -> AbstractContextManager[Connection]:
    """Return a transaction: it commits when its block ends, and rolls back if the block raises."""
    return database().begin()


def epoch() -> str:
    """Return the database id; see `tables.epoch`."""
    return tables.epoch(database())


def endpoints() -> dict[str, str]:
    """Return no settings: a file has no URL that workers must reach."""
    return {}


def set_sequences(connection: Connection, table: Table) -> None:
    """Let generated numbers go on after those that a table has, which were written with their rows."""
    for each in table.columns:
        if isinstance(each.default, sqlalchemy.Sequence):
            # DuckDB cannot set a sequence: take its numbers.
            number = each.default.next_value()
            series = func.range(func.coalesce(select(func.max(each)).scalar_subquery(), 0))
            connection.execute(select(func.max(number)).select_from(series))


def upsert(
    connection: Connection,
    table: Table,
    rows: Iterable[Mapping[str, Any]],
    *,
    key: Iterable[str] | None = None,
    newer: str | None = None,
) -> UpsertReport:
    """Upsert rows: insert new keys, update rows whose values differ, and leave the others untouched. Idempotent.

    Of duplicate keys the last row counts; with `newer` the newest, or the last of several newest. Columns that the rows
    lack keep their value; in a new row they take the database's default. None is NULL, in a JSON column too.

    Args:
        connection: in a transaction, which the caller commits.
        table: the table; its columns determine what the rows may hold.
        rows: any number of rows with the same columns; 50,000 are in memory at a time.
        key: the columns that identify a row, with a unique constraint; default: the primary key.
        newer: a column such as a version or a time of change; a row is not updated if its new value is lower.

    Returns:
        The number of rows inserted, updated and left unchanged. A duplicate key counts again if its rows are so far
        apart that they are not in memory together.

    Raises:
        ValueError: the table has no such key; a row has other columns than the first one, or a column that the table
            lacks; a value cannot be stored unchanged, or is missing in the key. Nothing is written: DuckDB has no
            savepoints, so if an earlier batch was written, the whole transaction is rolled back.
    """
    report = UpsertReport()
    if not connection.in_transaction():
        # The registration below is part of the transaction, and must not outlive a rollback.
        connection.begin()
    try:
        checked = batches(table, rows, key, newer, dialect=connection.dialect, check=_unfit, size=BATCH, ordered=False)
        for batch in checked:
            report += _write(connection, *batch)
    except BaseException:
        if report != UpsertReport() and (transaction := connection.get_transaction()):
            transaction.rollback()
        raise
    return report


def _write(connection: Connection, shape: Shape, columns: Columns, duplicates: int) -> UpsertReport:
    arrays = list(map(_array, shape.kinds, columns))
    driver: Any = connection.connection.dbapi_connection
    if complete := getattr(driver, "complete", None):
        # From DuckDB 2 on, a result that was not read to its end keeps the connection busy.
        complete()
    driver.register(ARRIVING, pa.table(arrays, names=list(shape.names)))
    count, write = _statements(shape, connection.dialect)
    known = connection.exec_driver_sql(count).scalar_one()
    written = connection.exec_driver_sql(write).scalar_one()
    driver.unregister(ARRIVING)
    inserted = len(columns[0]) - known
    return UpsertReport(inserted, written - inserted, len(columns[0]) - written, duplicates)


@lru_cache(maxsize=100)
def _statements(shape: Shape, dialect: Dialect) -> tuple[str, str]:
    """Compile two statements: one counts the known rows of a batch, the other writes the batch."""
    table = shape.table
    arriving = table_named(ARRIVING, *map(column, shape.names))
    new = insert(table).from_select(
        shape.names,
        select(*(cast(arriving.c[name], table.c[name].type) for name in shape.names)),
        include_defaults=False,
    )
    upserted = shape.on_conflict(new, shape.changed(new.excluded))
    same = [table.c[name] == cast(arriving.c[name], table.c[name].type) for name in shape.key]
    known = select(func.count()).select_from(arriving).where(select(1).where(*same).correlate(arriving).exists())
    # The driver gets no parameters, but an `onupdate` may have some.
    write = upserted.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    return str(known.compile(dialect=dialect)), str(write)


def _array(kind: TypeEngine[Any], values: Sequence[Any]) -> Any:
    match kind:
        case JSON():
            values = [None if value is None else json_text(value) for value in values]
        case Uuid():
            values = [None if value is None else str(value) for value in values]
        case Float() if int in {*map(type, values)}:
            values = [None if value is None else float(value) for value in values]
        case Numeric() if not isinstance(kind, Float):
            values = [None if value is None else Decimal(value) for value in values]
            return pa.array(values, pa.decimal128(kind.precision, kind.scale or 0))
        case DateTime():
            return pa.array(values, pa.timestamp("us", "UTC" if kind.timezone else None))
    return pa.array(values, next((arrow for known, arrow in _ARROW.items() if isinstance(kind, known)), pa.string()))


_ARROW = {
    Boolean: pa.bool_(),
    SmallInteger: pa.int16(),
    BigInteger: pa.int64(),
    Integer: pa.int32(),
    Double: pa.float64(),
    LargeBinary: pa.binary(),
    Date: pa.date32(),
}


def _unfit(_: Column[Any], kind: TypeEngine[Any], values: Sequence[Any]) -> str | None:
    match kind:
        case Integer():
            return outside(values, kind)
        case Float() if not isinstance(kind, Double):
            return "a Float has 4 bytes in DuckDB and is not exact; declare the column as Double"
        case Numeric() if not isinstance(kind, Float | ExactNumeric) and (kind.precision or 99) > 15:
            return "duckdb-engine reads a Numeric by a float of 15 digits; declare it as durable.ExactNumeric"
    return None


class ExactNumeric(Numeric[Decimal]):
    """A decimal number, returned as DuckDB stores it.

    Args:
        precision: the total number of digits, at most 38.
        scale: the digits after the point.
    """

    def __init__(self, precision: int, scale: int) -> None:
        super().__init__(precision, scale)

    def dialect_impl(self, dialect: Dialect) -> "ExactNumeric":
        return self

    def result_processor(self, dialect: Dialect, coltype: object) -> None:
        return None
