"""The database sink, SQLite: idempotent upserts.

Repeating an upsert changes nothing. The upsert alone does not guarantee that it happens, or exactly once: its step and
the checkpoint do.
"""

import itertools
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from types import NoneType
from typing import Any

import orjson
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
    MetaData,
    NullPool,
    Numeric,
    String,
    Table,
    TypeDecorator,
    bindparam,
    case,
    create_engine,
    event,
    func,
    inspect,
    literal_column,
    select,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import ArgumentError, DisconnectionError, OperationalError, SQLAlchemyError
from sqlalchemy.schema import CreateTable
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

BATCH = 5000
"""Rows in memory at a time."""
PROBE = 3.0
"""Seconds for `probe` to wait for a lock, and again to look for damage."""

MET = "met"
FILE = "file"

__all__ = ["Connection", "ExactNumeric", "UpsertReport", "database", "insert", "upsert"]


@tables.OneEngine
def database() -> Engine:
    """Return the project's database: one engine per process, which creates the file on first use."""
    url = tables.file_url(database_settings.database_url.get_secret_value(), "sqlite", "database.db")
    # SQLite allows one writer at a time. Threads queue for the process's one connection, which wastes less time than
    # the waiting of SQLite between processes. Steps are short: after a minute, something hangs.
    engine = create_engine(
        url,
        pool_size=1,
        max_overflow=0,
        pool_timeout=60,
        connect_args={"timeout": 60},
        json_serializer=json_text,
        hide_parameters=True,
    )
    # SQLite's messages name columns, and quote no values.
    mask_errors(engine, str)

    @event.listens_for(engine, "connect")
    def configure(connection: Any, record: Any) -> None:
        # The driver would begin transactions as readers, which cannot always become writers; `begin` below does it.
        connection.isolation_level = None
        # WAL lets others read meanwhile. FULL: commits survive a power failure, not only the death of the process.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        record.info[FILE] = _file(engine)
        # Counts the existing rows in an upsert: SQLite only returns how many rows it has written.
        met = record.info[MET] = itertools.count()
        connection.create_function("met", 0, met.__next__)

    @event.listens_for(engine, "checkout")
    def look(connection: Any, record: Any, proxy: Any) -> None:
        # Otherwise a long-lived process, such as a cluster's worker, would still write to a deleted file.
        if record.info[FILE] != _file(engine):
            raise DisconnectionError

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        try:
            # Run by the driver: this is a good part of the cost of a short transaction.
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
    """Create the tables in a new database; in an existing one, check that all tables and columns are there. Idempotent.

    Args:
        upgrade: whether to apply pending migrations.

    Returns:
        A line that says where the tables are.

    Raises:
        MissingTablesError: the database lacks a table or a column; a migration must create it.
    """
    migrations.prepare(database(), upgrade, _unlike)
    _check_scales()
    return f"tables are ready in {place()}"


def _unlike(connection: Connection, table: Table) -> dict[str, tuple[str, str]]:
    """Return the columns whose type has another affinity in the code: SQLite would convert their values."""
    query = "SELECT name, type FROM pragma_table_info(?, ?)"
    found = {}
    for name, there in connection.exec_driver_sql(query, (table.name, table.schema or "main")).tuples():
        here = table.columns[name].type.compile(connection.dialect) if name in table.columns else there
        if _affinity(there) != _affinity(here):
            found[name] = (there, here)
    return found


def _affinity(kind: str) -> str:
    """Return the affinity of a declared type; see section 3.1 of https://www.sqlite.org/datatype3.html."""
    parts = {"INT": "INTEGER", "CHAR|CLOB|TEXT": "TEXT", "BLOB|^$": "BLOB", "REAL|FLOA|DOUB": "REAL"}
    return next((affinity for part, affinity in parts.items() if re.search(part, kind.upper())), "NUMERIC")


_scales = Table(
    "numeric_scales",
    MetaData(),
    Column("place", String(), primary_key=True),
    Column("scale", Integer(), nullable=False),
)
"""The scale that the integers of each ExactNumeric column have: SQLite does not know it."""


def _check_scales(but: Sequence[str] | None = None) -> None:
    """Check that columns of ExactNumeric have the scale that they had first, and note that of new columns.

    Args:
        but: before a migration, the tables that it drops: then nothing is noted, and new columns are not checked.

    Raises:
        ChangedError: a column with rows has another scale in the code.
    """
    here = {
        f"{table.fullname}.{column.name}": (column, column.type.scale)
        for table in tables.metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, ExactNumeric) and table.fullname not in (but or ())
    }
    with database().connect() as connection:
        exists = inspect(connection).has_table(_scales.name)
        there = dict(connection.execute(select(_scales.c.place, _scales.c.scale)).tuples().all()) if exists else {}
        new = {place: scale for place, (_, scale) in here.items() if there.get(place) != scale}
        if but is not None:
            new = {place: scale for place, scale in new.items() if place in there}
        for place in new:
            column = here[place][0]
            # A new column may be one that was renamed: it has the scale of one that is gone.
            table = column.table.fullname
            gone = {there[name] for name in there.keys() - here.keys() if name.rpartition(".")[0] == table}
            before = there.get(place, max(gone - {new[place]}, default=None))
            if before is not None and connection.execute(select(column).where(column.is_not(None)).limit(1)).first():
                what = f"the digits after the point of the column {place} are"
                raise migrations.ChangedError.of_rows(what, before, new[place], table, "column")
    if not new or but is not None:
        return
    with database().begin() as connection:
        connection.execute(CreateTable(_scales, if_not_exists=True))
        rows = [{"place": place, "scale": scale} for place, scale in new.items()]
        connection.execute(insert(_scales).prefix_with("OR REPLACE"), rows)


def place() -> str:
    """Return the database's URL, without its password."""
    return str(database().url)


def probe() -> None:
    """Check within seconds that the file is neither locked nor damaged. In a large file damage may remain unseen.

    Raises:
        ArgumentError: it is. The message says what to do.
    """
    engine = create_engine(database().url, poolclass=NullPool, connect_args={"timeout": PROBE})
    with closing(engine.raw_connection()) as pooled:
        connection: Any = pooled.driver_connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
            deadline = time.monotonic() + PROBE
            connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code == sqlite3.SQLITE_BUSY:
                raise ArgumentError(f"another process has locked {place()}; end it, or wait until it is done") from None
            # The file is read-only, which `check_rights` says, or so large that the time was up.
            said = str(error) if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB} else "ok"
    if said != "ok":
        raise ArgumentError(
            f"{place()} is damaged ({' '.join(said.split())}); put a backup in its place, or save what can be read:"
            " sqlite3 OLD .recover | sqlite3 NEW"
        )


def check_rights() -> str:
    """Check that rows of all tables can be written, without writing any; return the version of SQLite.

    Raises:
        DBAPIError: the database is read-only, or its user lacks a right.
    """
    with database().begin() as connection:
        tables.check_rights(connection)
    return f"SQLite {sqlite3.sqlite_version}"


def check_rows(but: Sequence[str]) -> None:
    """Check for changes that no rows survive, except in tables that are to be dropped.

    Raises:
        ChangedError: a table has another primary key in the code, or a column another scale.
    """
    migrations.check_keys(database(), but)
    _check_scales(but)


def pending() -> list[str]:
    """Return the pending migrations of the database, oldest first."""
    return migrations.pending(database())


def table_names() -> set[str]:
    """Return the names of the tables that the code or the database has, those of `durable` included."""
    return {*tables.table_names(database()), _scales.name}


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
    """Return no settings: a file has no URL that workers must reach."""
    return {}


def set_sequences(connection: Connection, table: Table) -> None:
    """Let generated numbers go on after those that a table has: SQLite does so itself."""


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
        connection: of `database()`, in a transaction, which the caller commits.
        table: the table; its columns determine what the rows may hold.
        rows: any number of rows with the same columns; 5000 are in memory at a time.
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
    # The savepoint undoes earlier batches if a later one is invalid.
    with connection.begin_nested():
        for batch in batches(table, rows, key, newer, dialect=connection.dialect, check=_unfit, size=BATCH):
            report += _write(connection, *batch)
    return report


def _write(connection: Connection, shape: Shape, columns: Columns, duplicates: int) -> UpsertReport:
    # Run by the driver: SQLAlchemy's `execute` costs twice the insert.
    statement = _statement(shape, connection.dialect)
    for place, encode in statement.encoders:
        columns[place] = encode(columns[place])
    columns += [[value] * len(columns[0]) for value in statement.fixed]
    rows = list(zip(*(columns[place] for place in statement.order), strict=True))
    met: Iterator[int] = connection.info[MET]
    before = next(met)
    written = connection.exec_driver_sql(statement.sql, rows).rowcount
    known = next(met) - before - 1 if shape.others else len(rows) - written
    return UpsertReport(len(rows) - known, written - len(rows) + known, len(rows) - written, duplicates)


class _Statement:
    """The compiled statement for rows of one shape, with the encoders for its columns."""

    def __init__(self, shape: Shape, dialect: Dialect) -> None:
        new = insert(shape.table).values({name: bindparam(name, required=False) for name in shape.names})
        # CASE is sure to count the row before it compares the values.
        where = case((func.met().is_not(None), shape.changed(new.excluded)), else_=literal_column("0"))
        compiled = shape.on_conflict(new, where).compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
        self.sql = str(compiled)
        # An `onupdate` may add parameters, with the same value for all rows.
        own = [name for name in compiled.positiontup if name not in shape.names]
        self.fixed = [compiled.params[name] for name in own]
        # Parameters follow the order of the table's columns, not of the rows'.
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
    # SQLAlchemy writes the same text, but more slowly. What follows the fraction of the second is the time zone.
    if {*map(type, values)} in ({datetime}, {datetime, NoneType}):
        texts = orjson.dumps(values).decode()[1:-1].replace("T", " ").split(",")
        return [text[1:27] if "." in text else None if text == "null" else f"{text[1:20]}.000000" for text in texts]
    return [None if value is None else value.isoformat(" ", "microseconds")[:26] for value in values]


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
    """A decimal number, stored exactly: as an integer in its smallest unit, which SQLite compares and sums exactly.

    Args:
        precision: the total number of digits, at most 18.
        scale: the digits after the point.
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
