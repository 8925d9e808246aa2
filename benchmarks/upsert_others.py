"""Other ways to upsert the rows of `upsert.py`, as their documentation shows; what is not installed is left out."""

import importlib.util
import itertools
import os
import random
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from durable_flights.durable.settings import settings
from durable_flights.durable.upserts import database, insert
from sqlalchemy import Connection
from upsert import NAMES, RANDOM, SETS, TABLE, Writer, in_transaction, rows, tuples

FEW = 10_000
"""Rows for those who would take minutes for all of them."""
VERY_FEW = 2000
ALL = "guard, counts, dedup"
SQL = f"INSERT INTO measured ({', '.join(NAMES)}) VALUES (%s) ON CONFLICT (id) DO UPDATE SET {SETS}"
Rows = list[dict[str, Any]]


def others(name: str, count: int) -> tuple[list[Writer], list[str]]:
    """Return the writers, and why some are not among them."""
    few, very_few = min(FEW, count), min(VERY_FEW, count)
    many, some = list(rows(count)), list(rows(few))
    found: list[tuple[str, str, Callable[[], Writer]]] = []

    def add(package: str, title: str, write: Callable[..., Any], given: Rows, lacks: str = ALL) -> None:
        # As a transaction of the project's connection, which has the project's pragmas.
        found.append((package, title, lambda: Writer(title, in_transaction(write, given), len(given), lacks)))

    if name == "sqlite":
        add("sqlite_utils", "sqlite-utils upsert_all", _sqlite_utils, many)
    if name == "postgres":
        add("psycopg", "psycopg executemany", partial(_executemany, "%s"), many)
    if name == "duckdb":
        add("duckdb", "DuckDB executemany", partial(_executemany, "?"), list(rows(very_few)))
        add("pandas", "pandas, and INSERT … SELECT", _frame, many)
        title, shuffled = f"pandas{RANDOM}", random.Random(0).sample(many, count)
        write = in_transaction(_frame, shuffled)
        found.append(("pandas", title, lambda: Writer(title, write, count, ALL, floor=f"floor{RANDOM}")))
    else:
        add("sqlalchemy", "SQLAlchemy Core executemany", _core, many)
        add("sqlalchemy", "SQLAlchemy .values([…]), 1000 a statement", _values, some)
        add("pandas", "pandas to_sql, and INSERT … SELECT", _pandas, many)
        add("pangres", "pangres upsert", _pangres, some)
    found.append(("dlt", "dlt merge", lambda: _dlt(name, few)))
    missing = [f"{title}: {package} is not installed" for package, title, _ in found if not _has(package)]
    there = []
    for package, title, make in found:
        if _has(package):
            try:
                there.append(make())
            except ImportError as error:
                missing.append(f"{title}: {error}")
    return there, missing


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _executemany(mark: str, connection: Connection, given: Rows) -> None:
    driver: Any = connection.connection.dbapi_connection
    driver.cursor().executemany(SQL % ", ".join([mark] * len(NAMES)), tuples(given))


def _core(connection: Connection, given: Rows) -> None:
    new: Any = insert(TABLE)
    sets = {name: new.excluded[name] for name in NAMES[1:]}
    connection.execute(new.on_conflict_do_update(index_elements=["id"], set_=sets), given)


def _values(connection: Connection, given: Rows) -> None:
    for start in range(0, len(given), 1000):
        new: Any = insert(TABLE).values(given[start : start + 1000])
        sets = {name: new.excluded[name] for name in NAMES[1:]}
        connection.execute(new.on_conflict_do_update(index_elements=["id"], set_=sets))


def _sqlite_utils(connection: Connection, given: Rows) -> None:
    import sqlite_utils

    driver: Any = connection.connection.dbapi_connection
    sqlite_utils.Database(driver)["measured"].upsert_all(given, pk="id")


def _pandas(connection: Connection, given: Rows) -> None:
    import pandas

    pandas.DataFrame(given).to_sql("arriving", connection, index=False)
    columns = ", ".join(NAMES)
    source = f"INSERT INTO measured ({columns}) SELECT {columns} FROM arriving WHERE true"
    connection.exec_driver_sql(f"{source} ON CONFLICT (id) DO UPDATE SET {SETS}")
    connection.exec_driver_sql("DROP TABLE arriving")


def _frame(connection: Connection, given: Rows) -> None:
    import pandas

    driver: Any = connection.connection.dbapi_connection
    driver.register("arriving", pandas.DataFrame(given))
    columns = ", ".join(NAMES)
    source = f"INSERT INTO measured ({columns}) SELECT {columns} FROM arriving WHERE true"
    driver.execute(f"{source} ON CONFLICT (id) DO UPDATE SET {SETS}").fetchall()
    driver.unregister("arriving")


def _pangres(connection: Connection, given: Rows) -> None:
    import pandas
    import pangres

    frame = pandas.DataFrame(given).set_index("id")
    pangres.upsert(connection, frame, "measured", "update", create_table=False)


def _dlt(name: str, count: int) -> Writer:
    """Its own table, with two columns more, in its own file or schema; files of its own on the way."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    import dlt

    settings.home.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=settings.home))
    numbers = itertools.count()
    state: dict[str, Any] = {}

    def load(step: int, change: int) -> None:
        resource = dlt.resource(
            rows(count, step, change),
            name="measured",
            primary_key="id",
            write_disposition={"disposition": "merge", "strategy": "upsert" if name == "postgres" else "delete-insert"},
        )
        state["pipeline"].run(resource).raise_on_failed_jobs()

    def prepare() -> None:
        title = f"measured{next(numbers)}"
        if name == "sqlite":
            kind: Any = dlt.destinations.sqlalchemy(f"sqlite:///{folder / title}.db")
        elif name == "postgres":
            url = database().url
            # dlt wants a host and a password, which a socket has not.
            where = quote(str(url.query["host"]), safe="") if "host" in url.query else url.host
            login = f"{url.username}:{url.password or 'none'}"
            kind = dlt.destinations.postgres(f"postgresql://{login}@{where}:{url.port or 5432}/{url.database}")
        else:
            kind = dlt.destinations.duckdb(str(folder / f"{title}.duckdb"))
        state["pipeline"] = dlt.pipeline(
            title, destination=kind, dataset_name=f"{title}_rows", pipelines_dir=str(folder)
        )
        load(2, 0)

    return Writer("dlt merge", lambda: load(1, 1), count, "guard, counts, one transaction", prepare)
