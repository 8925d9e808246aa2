"""The upsert on PostgreSQL: what is this database's own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from psycopg.errors import DeadlockDetected
from pydantic import SecretStr
from sqlalchemy import (
    JSON,
    REAL,
    Column,
    DateTime,
    Double,
    Integer,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Table,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.exc import ArgumentError, OperationalError

from {{ cookiecutter.package_name }}.durable import rows as rows_module
from {{ cookiecutter.package_name }}.durable import upserts as upsert_module
from {{ cookiecutter.package_name }}.durable.rows import Columns, Shape
from {{ cookiecutter.package_name }}.durable.settings import PREFIX, ROOT
from {{ cookiecutter.package_name }}.durable.upserts import UpsertReport, database, database_settings, upsert

from tests.support import sink
from tests.support.processes import FORKS


def table_of(kind: Any) -> Table:
    return Table("t", MetaData(), Column("id", Integer, primary_key=True), Column("c", kind))


def test_unchanged_rows_are_not_written() -> None:
    table = table_of(Integer())
    rows: list[dict[str, Any]] = [{"id": 1, "c": 1}, {"id": 2, "c": None}]
    with database().begin() as connection:
        table.create(connection)
        upsert(connection, table, rows)
    with database().begin() as connection:
        before = connection.execute(text("SELECT ctid, xmin FROM t")).all()
        assert upsert(connection, table, rows) == UpsertReport(0, 0, 2)
        assert connection.execute(text("SELECT ctid, xmin FROM t")).all() == before


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Double(), float("nan")),
        (Numeric(), Decimal("123456789012345678901234567890.123456789")),
        (DateTime(timezone=True), None),
        (JSONB(), {"a": [1, {"b": None}]}),
        (JSON().with_variant(JSONB(), "postgresql"), [1, "x"]),
    ],
)
def test_what_only_postgresql_keeps(kind: Any, value: Any) -> None:
    table = table_of(kind)
    with database().begin() as connection:
        table.create(connection)
        assert upsert(connection, table, [{"id": 1, "c": value}]).inserted == 1
        assert upsert(connection, table, [{"id": 1, "c": value}]).unchanged == 1
        assert repr(connection.scalar(select(table.c.c))) == repr(value)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (String(), "a\0b", r"no character \\x00 in text"),
        (JSON(), {"a": "a\0b"}, r"no character \\x00 in JSON"),
        (Integer(), 2**31, "does not fit an integer of 32 bits"),
        (SmallInteger(), -(2**15) - 1, "does not fit an integer of 16 bits"),
        (REAL(), 0.1, "declare the column as Double"),
        (JSONB(), {"a": [1e23]}, "comes back from jsonb as another one"),
        (TIMESTAMP(precision=0), datetime(2013, 1, 1), "without a precision"),
    ],
)
def test_what_postgresql_would_refuse_or_change_is_refused(kind: Any, value: Any, message: str) -> None:
    with database().begin() as connection, pytest.raises(ValueError, match=message):
        upsert(connection, table_of(kind), [{"id": 1, "c": value}])


def test_a_backslash_is_no_null_character() -> None:
    table = table_of(JSON())
    with database().begin() as connection:
        table.create(connection)
        upsert(connection, table, [{"id": 1, "c": "\\u0000"}])
        assert connection.scalar(select(table.c.c)) == "\\u0000"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "no database: set"),
        ("mysql://x/y", "must begin with postgresql://"),
        ("postgresql://u:secret@host:port/x", "is not postgresql://USER:PASSWORD@HOST:PORT/DATABASE"),
    ],
)
def test_wrong_url_is_said(url: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(database_settings.__dict__, "database_url", SecretStr(url))
    with pytest.raises(ArgumentError, match=message):
        database.__wrapped__()


def test_a_server_ends_with_its_last_user_although_another_was_killed(tmp_path: Path) -> None:
    home = sink.new_folder()
    environment = {name: value for name, value in os.environ.items() if name != sink.SETTING}
    environment[f"{PREFIX}HOME"] = str(home)
    lock = home / "postgres" / "postmaster.pid"

    def beside(*command: str) -> subprocess.Popen[bytes]:
        beside = [sys.executable, "-m", "tests.support.sink", *command]
        return subprocess.Popen(beside, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)

    def wait(done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not done():
            assert time.monotonic() < deadline
            time.sleep(0.1)

    killed = beside("sh", "-c", f"touch {tmp_path}/begun; sleep 60")
    wait((tmp_path / "begun").exists)
    killed.kill()
    killed.wait()
    wait(lambda: not lock.exists())
    assert beside("true").wait() == 0
    assert not lock.exists(), "a server is left over"


def test_rows_of_several_batches_lock_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of(Integer())
    monkeypatch.setattr(upsert_module, "BATCH", 2)
    lock = text("SELECT count(*) FROM pg_locks WHERE mode = 'ShareRowExclusiveLock' AND pid = pg_backend_pid()")
    with database().begin() as connection:
        table.create(connection)
    with database().begin() as connection:
        upsert(connection, table, [{"id": n, "c": n} for n in range(2)])
        assert connection.scalar(lock) == 0
        upsert(connection, table, [{"id": n, "c": n} for n in range(3)])
        assert connection.scalar(lock) == 1


many = Table("many", MetaData(), Column("id", Integer, primary_key=True), Column("c", Integer))


def in_order_of_input(_shape: Shape, columns: Columns, _ordered: bool) -> Columns:
    """The mutant: the rows as they come."""
    return columns


def collide(step: int, tries: int, ordered: bool, folder: Path) -> int:
    """Write many rows, up the keys or down, until two writers stand in each other's way; return how often."""
    if not ordered:
        vars(rows_module)["_one_a_key"] = in_order_of_input
    (folder / str(step)).touch()
    while len(list(folder.iterdir())) < 2:
        time.sleep(0.001)
    for number in range(tries):
        try:
            with database().begin() as connection:
                upsert(connection, many, [{"id": n, "c": step * number} for n in range(3000)[::step]])
        except OperationalError as error:
            if isinstance(error.orig, DeadlockDetected):
                return 1
            raise
    return 0


@pytest.mark.parametrize("ordered", [True, False])
def test_writers_without_the_order_of_keys_would_deadlock(ordered: bool, tmp_path: Path) -> None:
    tries = 60 if ordered else 600
    with database().begin() as connection:
        many.create(connection)
        upsert(connection, many, [{"id": n, "c": None} for n in range(3000)])
    with FORKS.Pool(2) as pool:
        writers = [(step, tries, ordered, tmp_path) for step in (1, -1)]
        deadlocks = pool.starmap_async(collide, writers, chunksize=1).get(90)
    assert (sum(deadlocks) > 0) != ordered
