"""The database sink, PostgreSQL: idempotent upserts.

Repeating an upsert changes nothing. The upsert alone does not guarantee that it happens, or exactly once: its step and
the checkpoint do.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from decimal import Decimal
from functools import lru_cache
from itertools import chain, islice
from math import isfinite
from typing import Any

import orjson
import psycopg
import sqlalchemy
from pydantic import SecretStr
from sqlalchemy import (
    ARRAY,
    CTE,
    JSON,
    REAL,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Executable,
    Float,
    Integer,
    LargeBinary,
    Numeric,
    Select,
    String,
    Table,
    Text,
    bindparam,
    cast,
    create_engine,
    event,
    func,
    literal_column,
    make_url,
    select,
    text,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import JSONB, REGCLASS, Insert, insert
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.types import TypeEngine

from . import migrations, tables
from .masking import mask_errors, masked
from .rows import Columns, Shape, UpsertReport, batches, json_text, outside
from .settings import PACKAGE, PREFIX, ProjectSettings, settings


class DatabaseSettings(ProjectSettings):
    """Where the tables are."""

    database_url: SecretStr = SecretStr("")
    """`postgresql://USER:PASSWORD@HOST:PORT/DATABASE`; `make run` without it starts a server on this machine."""


database_settings = DatabaseSettings()
LOCAL = ""
"""The data of this module that exists on this machine only: none, as the database is a server."""
WRITES = True
"""Whether rows are written to a database: without one, stored results are the only output of chunks."""
ROW_LOCKS = True
"""Whether transactions can lock rows, and stay open while others read and write."""
CONTAINER_URL = f"postgresql://{PACKAGE}:{PACKAGE}@database/{PACKAGE}"
"""The URL of the database in `compose.yaml` for runs in containers."""
ERRORS: tuple[type[Exception], ...] = (SQLAlchemyError,)
"""The exceptions of a failing database."""
MISTAKES: tuple[type[Exception], ...] = (ArgumentError,)
"""Those of a wrong setting or a missing migration: their messages say what to do."""

BATCH = 5000
"""Rows in memory at a time, and per statement."""
PROBE = 3
"""Seconds for `check_rights` to wait for a lock."""
PARTITIONED = "partitioned"

__all__ = ["Connection", "ExactNumeric", "UpsertReport", "database", "insert", "upsert"]


@tables.OneEngine
def database() -> Engine:
    """Return the project's database: one engine per process, which connects on first use."""
    given = database_settings.database_url.get_secret_value()
    if not given:
        raise ArgumentError(f"no database: set {PREFIX}DATABASE_URL to postgresql://USER:PASSWORD@HOST/DATABASE")
    if given.partition("://")[0] not in {"postgresql", "postgres", "postgresql+psycopg"}:
        raise ArgumentError(
            f"{PREFIX}DATABASE_URL must begin with postgresql://, for this project writes to PostgreSQL"
        )
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        # SQLAlchemy's error could show the password.
        raise ArgumentError(f"{PREFIX}DATABASE_URL is not postgresql://USER:PASSWORD@HOST:PORT/DATABASE") from None
    if "@" in (url.host or ""):
        # The driver's error would quote a part of the password.
        raise ArgumentError(f"{PREFIX}DATABASE_URL has an @ too many; write one of the password as %40")
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=settings.workers,
        # Replaces a connection that the server or the network has dropped.
        pool_pre_ping=True,
        pool_timeout=60,
        hide_parameters=True,
        connect_args={
            "connect_timeout": 10,
            # Detects a dead server within minutes, not hours.
            "keepalives_idle": 60,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            # A pooler such as PgBouncer may use another session for each transaction: prepare no statements.
            "prepare_threshold": None,
            # With the encoding SQL_ASCII the driver would otherwise return bytes for text.
            "client_encoding": "utf8",
        },
    )
    mask_errors(engine, _message)

    @event.listens_for(engine, "handle_error")
    def leave_standby(context: ExceptionContext) -> None:
        # After a failover the old primary may still respond, but refuses writes: the next attempt must reconnect.
        if isinstance(context.original_exception, psycopg.errors.ReadOnlySqlTransaction):
            context.is_disconnect = True

    @event.listens_for(engine, "begin")
    def configure(connection: Connection) -> None:
        # UTC for timestamps, and the one date style that the driver reads. The timeout frees the locks of a worker that
        # hangs in a transaction, or whose machine is gone.
        connection.exec_driver_sql(
            "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO';"
            " SET LOCAL idle_in_transaction_session_timeout = '300s'"
        )

    return engine


def _message(error: BaseException) -> str:
    # DETAIL, CONTEXT and the like quote rows; connection errors have only their text.
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    if primary is None:
        return str(error)
    # Data exceptions (class 22) quote the value.
    return masked(primary) if str(getattr(error, "sqlstate", "")).startswith("22") else primary


def prepare(upgrade: bool = False) -> str:
    """Create the tables in a new database; in an existing one, check that all tables and columns are there. Idempotent.

    Args:
        upgrade: whether to apply pending migrations.

    Returns:
        A line that says where the tables are.

    Raises:
        MissingTablesError: the database lacks a table or a column; a migration must create it.
    """
    migrations.prepare(database(), upgrade, _unlike)
    return f"tables are ready in {place()}"


def _unlike(connection: Connection, table: Table) -> dict[str, tuple[str, str]]:
    """Return the columns whose type is another one in the code, whatever its length: a load would convert values."""
    there = connection.exec_driver_sql(
        "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute"
        " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
        (connection.dialect.identifier_preparer.format_table(table),),
    )
    known = {name: kind for name, kind in there.tuples() if name in table.columns}
    kinds = [table.columns[name].type.compile(connection.dialect).partition(" COLLATE ")[0] for name in known]
    here = connection.exec_driver_sql(
        "SELECT coalesce(to_regtype(kind)::text, kind) FROM unnest(%s::text[]) WITH ORDINALITY AS given (kind, number)"
        " ORDER BY number",
        (kinds,),
    )
    pairs = zip(known.items(), here.scalars(), strict=True)
    return {name: (there, here) for (name, there), here in pairs if there != here}


def place() -> str:
    """Return the database's URL, without its password."""
    return str(database().url)


def probe() -> None:
    """Check nothing: a server tells of both itself."""


def check_rights() -> str:
    """Check that rows of all tables can be written, without writing any; return the version of PostgreSQL.

    Raises:
        ArgumentError: the user lacks a right, or a table is locked. The message says which.
        DBAPIError: the database is read-only.
    """
    try:
        with database().begin() as connection:
            connection.execute(text(f"SET LOCAL lock_timeout = '{PROBE}s'"))
            tables.check_rights(connection)
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.errors.LockNotAvailable):
            what = "end it (pg_stat_activity lists all), or wait until it is done"
            raise ArgumentError(f"another session has locked a table of {place()}; {what}") from None
        if isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
            rights = "SELECT, INSERT, UPDATE and DELETE on the project's tables"
            raise ArgumentError(f"{error.orig}: grant {rights} to the user of {place()}") from None
        raise
    # A managed server adds what it is called there.
    with database().connect() as connection:
        return f"PostgreSQL {connection.execute(text('SHOW server_version')).scalar_one().split()[0]}"


def check_rows(but: Sequence[str]) -> None:
    """Check for changes that no rows survive, except in tables that are to be dropped.

    Raises:
        ChangedError: a table has another primary key in the code.
    """
    migrations.check_keys(database(), but)


def pending() -> list[str]:
    """Return the pending migrations of the database, oldest first."""
    return migrations.pending(database())


def table_names() -> set[str]:
    """Return the names of the tables that the code or the database has, those of `durable` included."""
    return tables.table_names(database())


def add_tables(names: list[str]) -> list[str]:
    """Write and apply a migration that creates tables; return one line for each file written."""
    return [migrations.add_tables(database(), [tables.metadata.tables[name] for name in names], _unlike)]


def transaction() -> AbstractContextManager[Connection]:
    """Return a transaction: it commits when its block ends, and rolls back if the block raises."""
    return database().begin()


def epoch() -> str:
    """Return the database id; see `tables.epoch`."""
    return tables.epoch(database())


def endpoints() -> dict[str, str]:
    """Return the settings with URLs that workers must reach, by the names of their variables."""
    return {f"{PREFIX}DATABASE_URL": database_settings.database_url.get_secret_value()}


def set_sequences(connection: Connection, table: Table) -> None:
    """Let generated numbers go on after those that a table has, which were written with their rows."""
    preparer = connection.dialect.identifier_preparer
    for each in table.columns:
        name: str | None
        if isinstance(each.default, sqlalchemy.Sequence):
            name = preparer.format_sequence(each.default)
        else:
            name = connection.scalar(select(func.pg_get_serial_sequence(_name(connection, table), each.name)))
        if name and (highest := connection.scalar(select(func.max(each)))):
            connection.execute(select(func.setval(cast(name, REGCLASS), highest)))


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

    Writers of overlapping keys wait for each other. They do not deadlock if each writes a table once per transaction:
    a statement locks its rows in the order of their keys, and rows for several statements lock the table.

    Args:
        connection: in a transaction, which the caller commits.
        table: the table; its columns determine what the rows may hold.
        rows: any number of rows with the same columns; up to 10,000 are in memory at a time.
        key: the columns that identify a row, with a unique constraint; default: the primary key.
        newer: a column such as a version or a time of change; a row is not updated if its new value is lower.

    Returns:
        The number of rows inserted, updated and left unchanged. A duplicate key counts again if its rows are so far
        apart that they are not in memory together.

    Raises:
        ValueError: the table has no such key; a row has other columns than the first one, or a column that the table
            lacks; a value cannot be stored unchanged, or is missing in the key. Nothing is written.
    """
    report = UpsertReport()
    checked = batches(table, rows, key, newer, dialect=connection.dialect, check=_unfit, size=BATCH)
    first = list(islice(checked, 2))
    several = len(first) > 1
    # The savepoint undoes earlier batches if a later one is invalid.
    with connection.begin_nested() if several else nullcontext():
        if several:
            # `text` takes a colon for a parameter.
            name = _name(connection, table).replace(":", r"\:")
            connection.execute(text(f"LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE"))
        for batch in chain(first, checked):
            report += _write(connection, *batch)
    return report


def _name(connection: Connection, table: Table) -> str:
    # The dialect doubles each % for statements with parameters; `text` does that itself.
    return connection.dialect.identifier_preparer.format_table(table).replace("%%", "%")


def _write(connection: Connection, shape: Shape, columns: Columns, duplicates: int) -> UpsertReport:
    arrays = {str(place): _array(values) for place, values in enumerate(map(_encoded, shape.kinds, columns))}
    inserted, written = connection.execute(_statement(shape, _is_partitioned(connection, shape.table)), arrays).one()
    return UpsertReport(inserted, written - inserted, len(columns[0]) - written, duplicates)


def _is_partitioned(connection: Connection, table: Table) -> bool:
    # Cached with the connection: asking costs as much as writing a row.
    known: dict[Table, bool] = connection.info.setdefault(PARTITIONED, {})
    if table not in known:
        kind = text("SELECT relkind = 'p' FROM pg_class WHERE oid = CAST(:name AS regclass)")
        known[table] = connection.execute(kind, {"name": _name(connection, table)}).scalar_one()
    return known[table]


@lru_cache(maxsize=100)
def _statement(shape: Shape, partitioned: bool) -> Executable:
    """Build the statement for a batch of any size: it takes one array per column."""
    arrays = [
        cast(bindparam(str(place), type_=Text), ARRAY(kind, dimensions=1)) for place, kind in enumerate(shape.kinds)
    ]
    source = func.unnest(*arrays).table_valued(*shape.names).render_derived(name="src")
    rows = select(*(source.c[name] for name in shape.names)).where(true())
    return _in_two(shape, rows.cte("arriving")) if partitioned else _in_one(shape, rows)


def _in_one(shape: Shape, rows: Select[Any]) -> Executable:
    # ON CONFLICT locks an existing row, which sets its xmax to this transaction's id; a new row has xmax 0.
    written = _upserted(shape, rows).returning((literal_column("xmax", Integer) == 0).label("inserted")).cte()
    return select(func.count().filter(written.c.inserted), func.count()).select_from(written)


def _in_two(shape: Shape, rows: CTE) -> Executable:
    """Insert the new rows, then upsert the others: on a partitioned table, xmax does not tell them apart afterwards."""
    new = insert(shape.table).from_select(shape.names, select(rows), include_defaults=False)
    key = [shape.table.c[name] for name in shape.key]
    inserted = new.on_conflict_do_nothing(index_elements=shape.key).returning(*key).cte()
    others = select(rows).where(tuple_(*(rows.c[name] for name in shape.key)).not_in(select(inserted)))
    updated = _upserted(shape, others).returning(literal_column("1")).cte()
    first, second = (select(func.count()).select_from(part).scalar_subquery() for part in (inserted, updated))
    return select(first, first + second)


def _upserted(shape: Shape, rows: Select[Any]) -> Insert:
    new = insert(shape.table).from_select(shape.names, rows, include_defaults=False)
    upserted: Insert = shape.on_conflict(new, shape.changed(new.excluded, _comparable))
    return upserted


def _comparable(column: ColumnElement[Any]) -> ColumnElement[Any]:
    # PostgreSQL has no equality operator for json.
    return cast(column, JSONB) if type(column.type) is JSON else column


def _encoded(kind: TypeEngine[Any], values: Sequence[Any]) -> Sequence[Any]:
    """Encode values for JSON, or as text that PostgreSQL reads as the type."""
    match kind:
        case JSON():
            return [None if value is None else json_text(value) for value in values]
        case LargeBinary():
            return [None if value is None else f"\\x{value.hex()}" for value in values]
        case Float() if not all(map(isfinite, filter(None, values))):
            # JSON has no NaN and no infinity.
            return [None if value is None else str(value) for value in values]
        case Numeric() if int in {*map(type, values)}:
            # orjson supports integers of 64 bits only.
            return [str(value) if isinstance(value, int) else value for value in values]
    return values


def _array(values: Sequence[Any]) -> str:
    """Write a PostgreSQL array literal (manual, 8.15.6): JSON, apart from the escapes of control characters."""
    text = orjson.dumps(values, str).decode()
    if "\\" in text:
        text = _CONTROL.sub(lambda escape: escape[1] + str(orjson.loads(f'"{escape[2]}"')), text)
    return "{" + text[1:-1] + "}"


# An escape sequence after an even number of backslashes.
_CONTROL = re.compile(r"(?<!\\)((?:\\\\)*)(\\(?:u[0-9a-f]{4}|[bfnrt]))")
_NUL = re.compile(r"(?<!\\)(\\\\)*\\u0000")


def _unfit(_: Column[Any], kind: TypeEngine[Any], values: Sequence[Any]) -> str | None:
    match kind:
        case Integer():
            return outside(values, kind)
        case Float() if isinstance(kind, REAL) or (kind.precision or 53) <= 24:
            return "a floating-point number of 4 bytes is not exact; declare the column as Double"
        case String() if "\0" in "".join(values):
            return "PostgreSQL keeps no character \\x00 in text"
        case JSON() if any(_NUL.search(json_text(value)) for value in values):
            return "PostgreSQL keeps no character \\x00 in JSON"
        case JSONB():
            return "a number comes back from jsonb as another one" if any(map(_renumbered, values)) else None
    return None


def _renumbered(value: Any) -> bool:
    # jsonb stores decimal numbers and returns them without an exponent: 1e23 comes back as an integer.
    return bool(json.loads(json_text(value), parse_float=lambda text: json.loads(f"{Decimal(text):f}")) != value)


class ExactNumeric(Numeric[Decimal]):
    """A decimal number, stored exactly.

    Args:
        precision: the total number of digits.
        scale: the digits after the point.
    """

    def __init__(self, precision: int, scale: int) -> None:
        super().__init__(precision, scale)
