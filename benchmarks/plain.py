"""Load a file with csv and sqlite3 alone, in this process: `plain.py SOURCE DATABASE`.

The same checks (the project's own for a row), the same table, the same durability; each day is one executemany
and one commit. What it has not: Prefect, a checkpoint, results, rejects, counts. Prints the seconds, as JSON.
"""

import json
import sqlite3
import sys
import time
from itertools import groupby
from pathlib import Path
from typing import Any

from durable_flights.durable import CsvRecord
from durable_flights.flows.flights.source import COLUMNS, FLIGHT, MISSING

KEY = ("time_hour", "carrier", "flight")


def statements() -> tuple[str, str]:
    """The statements that make the table and that write to it."""
    texts = {"carrier", "tailnum", "origin", "dest", "time_hour"}
    columns = [f"{name} {'TEXT' if name in texts else 'INTEGER'}" for name in COLUMNS]
    table = f"CREATE TABLE flights ({', '.join(columns)}, PRIMARY KEY ({', '.join(KEY)}))"
    others = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name not in KEY)
    marks = ", ".join("?" * len(COLUMNS))
    insert = f"INSERT INTO flights VALUES ({marks}) ON CONFLICT ({', '.join(KEY)}) DO UPDATE SET {others}"
    return table, insert


def values(line: str) -> tuple[Any, ...]:
    """Check a record, and make it ready for the driver, which keeps no times."""
    fields = CsvRecord(0, line.rstrip("\r\n"), COLUMNS).values().items()
    row = FLIGHT.validate_python({name: None if value == MISSING else value for name, value in fields})
    *others, time_hour = row.values()
    return (*others, time_hour.isoformat(" "))


def load(source: Path, database: Path) -> None:
    table, insert = statements()
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(table)
    with source.open(encoding="utf-8", newline="") as file:
        next(file)
        for _, lines in groupby(file, key=lambda line: line.split(",", 3)[:3]):
            with connection:
                connection.executemany(insert, map(values, lines))
    connection.close()


def main() -> None:
    start = time.perf_counter()
    load(Path(sys.argv[1]), Path(sys.argv[2]))
    print(json.dumps({"seconds": time.perf_counter() - start}))


if __name__ == "__main__":
    main()
