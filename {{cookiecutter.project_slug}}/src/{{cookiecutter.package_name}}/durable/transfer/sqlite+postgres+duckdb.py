"""Transfer of all rows to another kind of database: `make switch upsert=… DATA=1`.

The old code writes them to a file, and the new code reads it in one transaction: each knows how its own database keeps
a value. Tables, checkpoints, claims, high-water marks and effects are compared by count and digest before the commit.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Table, delete, insert, literal, null, select
from sqlalchemy.exc import SQLAlchemyError

from . import checkpoints, claims, discovery, high_water, outbox, tables  # noqa: F401 - all tables stand on metadata
from .errors import InputError, one_line
from .settings import settings
from .upserts import database, pending, prepare, set_sequences, upsert

FOLDER = settings.home / "transfer"
"""The folder with what is on its way."""
ROWS = FOLDER / "rows.jsonl"
"""A JSON list a row: the table, then the values."""
SUMMARY = FOLDER / "summary.json"
"""Written last: where the rows are from, and the columns, the count and the digest of each table."""
BATCH = 5000
"""Rows in memory at a time."""


class _Digest:
    """The number of rows, and a digest of them in whatever order."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0

    def add(self, row: str) -> None:
        self.count += 1
        # A sum: the order does not count, and a row that is there twice counts twice.
        self._sum += int.from_bytes(hashlib.sha256(row.encode()).digest())

    def __str__(self) -> str:
        return f"{self._sum % (1 << 256):064x}"


def export() -> list[str]:
    """Write the rows of all tables to a file. The database is only read.

    Returns:
        A line with the number of rows, and one with the database.

    Raises:
        InputError: a migration is pending, or a value has a type that cannot be carried over.
    """
    _prepare()
    if left := pending():
        raise InputError(f"migrations are not applied: {', '.join(left)}; run `make setup` first")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True, mode=0o700)
    found: dict[str, dict[str, Any]] = {}
    with database().begin() as connection, ROWS.open("w", encoding="utf-8") as file:
        for table in _tables():
            names, digest = _columns(table), _Digest()
            for row in _rows(connection, table, names):
                digest.add(row)
                file.write(f"[{json.dumps(table.fullname)},{row}]\n")
            found[table.fullname] = {"columns": names, "count": digest.count, "digest": str(digest)}
    # With no password.
    summary = {"from": str(database().url), "epoch": tables.epoch(database()), "tables": found}
    part = SUMMARY.with_suffix(".part")
    part.write_text(json.dumps(summary), encoding="utf-8")
    part.replace(SUMMARY)
    count = sum(table["count"] for table in found.values())
    return [f"{count} rows of {len(found)} tables are in {FOLDER}", f"the old database stays: {summary['from']}"]


def carry(say: Callable[[str], None]) -> None:
    """Read the rows of the old database into the empty tables of this one, in one transaction.

    Args:
        say: called with a line for each table that has arrived, and at the end.

    Raises:
        InputError: there is no such file, a table has rows or other columns, or rows did not arrive unchanged. Nothing
            was written.
    """
    if not SUMMARY.exists():
        raise InputError("no rows are waiting; `make switch upsert=… DATA=1` writes those of the old database")
    summary = json.loads(SUMMARY.read_text(encoding="utf-8"))
    _prepare()
    if tables.epoch(database()) == summary["epoch"]:
        say(f"the rows are in {database().url} already")
    else:
        with database().begin() as connection:
            _check_tables(connection, summary["tables"])
            # The id of the database: checkpoints and results elsewhere name it.
            connection.execute(delete(tables.epochs))
            with ROWS.open(encoding="utf-8") as file:
                for name, rows in groupby(map(json.loads, file), key=itemgetter(0)):
                    _write(connection, _named(name), summary["tables"][name]["columns"], (row[1] for row in rows))
            for name, known in summary["tables"].items():
                _compare(connection, _named(name), known)
                say(f"{name}: {known['count']} rows, digest {known['digest'][:12]}")
        say(f"carried over from {summary['from']}, which stays as it was, to {database().url}")
    shutil.rmtree(FOLDER)


def _prepare() -> None:
    discovery.flows()
    prepare()


def _tables() -> list[Table]:
    """Return all tables, those that others refer to first."""
    return [*tables.internal.sorted_tables, *tables.metadata.sorted_tables]


def _named(name: str) -> Table:
    return next(table for table in _tables() if table.fullname == name)


def _columns(table: Table) -> list[str]:
    """Return the names of the columns that are not computed from others."""
    return [column.name for column in table.columns if column.computed is None]


def _rows(connection: Connection, table: Table, names: list[str]) -> Iterator[str]:
    """Yield the rows of a table, each as a JSON list in which equal values of all databases are equal texts."""
    rows = connection.execute(select(*(table.c[name] for name in names)), execution_options={"yield_per": BATCH})
    for row in rows:
        try:
            yield json.dumps([*map(_encoded, row)], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        except TypeError as error:
            raise InputError(f"table {table.fullname} cannot be carried over: {error}") from None


def _encoded(value: Any) -> Any:
    """Return a value as JSON has it; types that JSON lacks are named.

    Raises:
        TypeError: the value has another type.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return {"float": repr(value)}
        case Decimal():
            text = f"{value:f}"
            text = text.rstrip("0").rstrip(".") if "." in text else text
            return {"decimal": "0" if text == "-0" else text}
        case datetime():
            return {"datetime": (value.astimezone(UTC) if value.tzinfo else value).isoformat()}
        case date():
            return {"date": value.isoformat()}
        case time():
            return {"time": value.isoformat()}
        case timedelta():
            return {"timedelta": [value.days, value.seconds, value.microseconds]}
        case bytes():
            return {"bytes": value.hex()}
        case UUID():
            return {"uuid": value.hex}
        case dict() | list():
            return {"json": value}
    raise TypeError(f"values of the type {type(value).__name__} have no form that all databases share")


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "float": float,
    "decimal": Decimal,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timedelta": lambda parts: timedelta(*parts),
    "bytes": bytes.fromhex,
    "uuid": UUID,
    "json": lambda value: value,
}


def _decoded(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    return _DECODERS[kind](content)


def _check_tables(connection: Connection, found: Mapping[str, Mapping[str, Any]]) -> None:
    """Check that the tables are those of the old database, and empty."""
    known = {table.fullname: table for table in _tables()}
    if lost := sorted(found.keys() - known.keys()):
        raise InputError(f"no flow has the table {', '.join(lost)} any more; bring the flow back, and repeat it")
    for name, table in known.items():
        if name in found and sorted(found[name]["columns"]) != sorted(_columns(table)):
            raise InputError(f"table {name} has other columns than in the old database; take the change back first")
        first = select(literal(1)).select_from(table).limit(1)
        if table is not tables.epochs and connection.execute(first).first():
            raise InputError(f"table {name} in {database().url} has rows; set another database, then: make setup carry")


def _write(connection: Connection, table: Table, names: list[str], rows: Iterator[list[Any]]) -> None:
    """Write rows into an empty table.

    Raises:
        InputError: the database cannot keep a value.
    """
    decoded = (dict(zip(names, map(_decoded, row), strict=True)) for row in rows)
    try:
        if table.primary_key.columns:
            # It checks each value, and knows the fastest way.
            upsert(connection, table, decoded)
        else:
            for row in decoded:
                # As an expression: None would be JSON's null in a JSON column.
                values = {name: null() if value is None else value for name, value in row.items()}
                connection.execute(insert(table).values(values))
    except (ValueError, SQLAlchemyError) as error:
        raise InputError(f"table {table.fullname} cannot be carried over: {one_line(error)}; {UNTOUCHED}") from error
    set_sequences(connection, table)


def _compare(connection: Connection, table: Table, known: Mapping[str, Any]) -> None:
    digest = _Digest()
    for row in _rows(connection, table, known["columns"]):
        digest.add(row)
    if (digest.count, str(digest)) != (known["count"], known["digest"]):
        counts = f"{known['count']} rows became {digest.count}" if digest.count != known["count"] else "values differ"
        raise InputError(f"table {table.fullname} did not arrive unchanged: {counts}; {UNTOUCHED}")


UNTOUCHED = "nothing was written, and both databases are as they were"
