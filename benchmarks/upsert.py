"""The project's upsert against a floor and others, in turn, in this process: `upsert.py compare DATABASE ROWS ROUNDS`.

Half of the rows exist, with other values. All write to the same table, in one transaction each, whose commit is timed
too. Prints, as JSON, the microseconds a row and, round by round, their ratio to those of the floor.

`upsert.py fill DATABASE ROWS` makes the table and that half; `upsert.py stream DATABASE ROWS` then upserts all rows
from a generator and prints, as JSON, the seconds and the process's peak of memory in MiB, before and after.
"""

import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from durable_flights.durable.tables import UtcDateTime
from durable_flights.durable.upserts import UpsertReport, database, upsert
from marks import rest
from peak import peak
from sqlalchemy import BigInteger, Boolean, Column, Connection, Double, Integer, MetaData, String, Table, func, select

TABLE = Table(
    "measured",
    MetaData(),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("name", String(40)),
    Column("n", Integer),
    Column("x", Double),
    Column("moment", UtcDateTime),
    Column("flag", Boolean),
)
NAMES = [column.name for column in TABLE.columns]
SETS = ", ".join(f"{name} = excluded.{name}" for name in NAMES[1:])
RANDOM = ", keys in random order"
START = datetime(2013, 1, 1, tzinfo=UTC)


def rows(count: int, step: int = 1, change: int = 1) -> Iterator[dict[str, Any]]:
    """Rows 0 to `count`, each with a moment of its own; `change` is in their integer."""
    for id_ in range(0, count, step):
        moment = START + timedelta(seconds=id_)
        yield {
            "id": id_,
            "name": f"name of {id_}",
            "n": id_ % 1000 + change,
            "x": id_ / 2,
            "moment": moment,
            "flag": id_ % 3 == 0,
        }


def tuples(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """The rows as the driver wants them: sqlite3 keeps no times."""
    if database().dialect.name != "sqlite":
        return [tuple(row.values()) for row in rows]
    return [(*list(row.values())[:4], row["moment"].strftime("%Y-%m-%d %H:%M:%S.%f"), int(row["flag"])) for row in rows]


@dataclass(frozen=True)
class Writer:
    """One way to write the rows."""

    name: str
    write: Callable[[], Any]
    """What is timed."""
    count: int
    """Rows written."""
    lacks: str = ""
    """What it leaves out of: guard (unchanged rows are not written), counts, dedup (of keys in the batch)."""
    prepare: Callable[[], None] | None = None
    """Makes the table and the half of the rows, where it does not write to this table."""
    floor: str = "floor"
    """The writer that it is compared with."""


def prepare(count: int) -> None:
    """Make the table, and every second row of it; have the database at rest."""
    with database().begin() as connection:
        TABLE.drop(connection, checkfirst=True)
        TABLE.create(connection)
        upsert(connection, TABLE, rows(count, 2, 0))
    rest(database())


def check(count: int) -> None:
    """See that all rows are there, with the new values."""
    with database().connect() as connection:
        found = connection.execute(select(func.count(), func.sum(TABLE.c.n), func.sum(TABLE.c.x))).one()
    wanted = (count, sum(number % 1000 + 1 for number in range(count)), count * (count - 1) / 4)
    if tuple(map(float, found)) != wanted:
        raise SystemExit(f"the table holds {found}, and not {wanted}")


def floor(connection: Connection, ready: Any) -> None:
    """The fewest statements that do it: no guard, no counts, no dedup, no check of a value."""
    driver: Any = connection.connection.dbapi_connection
    target = f"INSERT INTO measured ({', '.join(NAMES)})"
    match connection.dialect.name:
        case "sqlite":
            driver.executemany(f"{target} VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET {SETS}", ready)
            return
        case "postgresql":
            driver.execute("CREATE TEMP TABLE arriving (LIKE measured) ON COMMIT DROP")
            with driver.cursor().copy("COPY arriving FROM STDIN") as copy:
                for row in ready:
                    copy.write_row(row)
        case _:
            import pyarrow

            driver.register("arriving", pyarrow.table([pyarrow.array(values) for values in ready], names=NAMES))
    columns = ", ".join(NAMES)
    # Without a condition SQL would take ON CONFLICT for one of a join.
    result = driver.execute(f"{target} SELECT {columns} FROM arriving WHERE true ON CONFLICT (id) DO UPDATE SET {SETS}")
    if connection.dialect.name == "duckdb":
        result.fetchall()
        driver.unregister("arriving")


def in_transaction(write: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    def call() -> Any:
        with database().begin() as connection:
            return write(connection, *arguments)

    return call


def own(count: int) -> list[Writer]:
    """The project's upsert and its floor, with the rows in the order of their keys and in any other."""
    found = []
    for suffix in ("", RANDOM):
        given = list(rows(count))
        if suffix:
            random.Random(0).shuffle(given)
        ready: Any = tuples(given)
        if database().dialect.name == "duckdb":
            ready = list(zip(*ready, strict=True))
        name = f"floor{suffix}"
        found.append(Writer(name, in_transaction(floor, ready), count, "guard, counts, dedup", floor=name))
        found.append(Writer(f"upsert(){suffix}", in_transaction(upsert, TABLE, given), count, floor=name))
    return found


def compare(writers: list[Writer], rounds: int) -> list[dict[str, Any]]:
    """Time each writer, each in each round, in another order each time."""
    seconds: dict[str, list[float]] = {writer.name: [] for writer in writers}
    # The first round imports and fills caches.
    for number in range(rounds + 1):
        turn = number % len(writers)
        for writer in writers[turn:] + writers[:turn]:
            (writer.prepare or (lambda count=writer.count: prepare(count)))()
            start = time.perf_counter()
            report = writer.write()
            seconds[writer.name].append((time.perf_counter() - start) / writer.count)
            if writer.prepare is None:
                check(writer.count)
            half = writer.count // 2
            if isinstance(report, UpsertReport) and report != UpsertReport(half, half, 0):
                raise SystemExit(f"upsert() says {report}")
    return [
        {
            "name": writer.name,
            "rows": writer.count,
            "lacks": writer.lacks,
            "floor": writer.floor,
            "microseconds": 1e6 * statistics.median(seconds[writer.name][1:]),
            "ratios": [a / b for a, b in zip(seconds[writer.name][1:], seconds[writer.floor][1:], strict=True)],
        }
        for writer in writers
    ]


def stream(count: int) -> dict[str, float]:
    """Upsert rows from a generator, in one transaction; return the seconds and the peaks of memory."""
    with database().connect():
        before = peak()
    start = time.perf_counter()
    in_transaction(upsert, TABLE, rows(count))()
    return {"seconds": time.perf_counter() - start, "before": before, "peak": peak()}


def main(what: str, name: str, count: int, rounds: int = 1) -> None:
    match what:
        case "compare":
            from upsert_others import others

            there, missing = others(name, count)
            print(json.dumps({"writers": compare(own(count) + there, rounds), "missing": missing}))
        case "fill":
            print(json.dumps(prepare(count)))
        case _:
            print(json.dumps(stream(count)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
