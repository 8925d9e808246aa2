"""The upsert on SQLite: what is this database's own."""

import sqlite3
import time
from contextlib import closing
from decimal import Decimal
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Column, DateTime, Double, Integer, MetaData, Numeric, Table, func, select, text
from sqlalchemy.exc import ArgumentError

from {{ cookiecutter.package_name }}.durable import discovery, doctor
from {{ cookiecutter.package_name }}.durable.settings import ROOT
from {{ cookiecutter.package_name }}.durable.upserts import (
    ExactNumeric,
    UpsertReport,
    database,
    database_settings,
    place,
    prepare,
    probe,
    upsert,
)

from tests.support import sink


def table_of(kind: Any) -> Table:
    return Table("t", MetaData(), Column("id", Integer, primary_key=True), Column("c", kind))


def test_unchanged_rows_are_not_written() -> None:
    table = table_of(Integer())
    rows: list[dict[str, Any]] = [{"id": 1, "c": 1}, {"id": 2, "c": None}]
    with database().begin() as connection:
        table.create(connection)
        upsert(connection, table, rows)
        connection.execute(text("CREATE TRIGGER x BEFORE UPDATE ON t BEGIN SELECT RAISE(ABORT, 'written'); END"))
        assert upsert(connection, table, rows) == UpsertReport(0, 0, 2)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (Double(), float("nan"), "stores NaN as NULL"),
        (Numeric(10, 2), Decimal(1), r"declare the column as durable.ExactNumeric"),
        (DateTime(timezone=True), None, r"declare the column as durable.UtcDateTime"),
    ],
)
def test_what_sqlite_would_change_is_refused(kind: Any, value: Any, message: str) -> None:
    with database().begin() as connection, pytest.raises(ValueError, match=message):
        upsert(connection, table_of(kind), [{"id": 1, "c": value}])


def test_exact_numbers_are_summed_and_compared_as_numbers() -> None:
    table = table_of(ExactNumeric(18, 2))
    with database().begin() as connection:
        table.create(connection)
        upsert(connection, table, [{"id": n, "c": Decimal(n) / 10} for n in range(1, 12)])
        assert connection.scalar(select(func.sum(table.c.c))) == Decimal("6.6")
        assert connection.scalar(select(func.max(table.c.c))) == Decimal("1.1")
        assert connection.scalars(select(table.c.id).where(table.c.c > Decimal("0.95"))).all() == [10, 11]


@pytest.mark.parametrize(("precision", "scale"), [(19, 2), (2, 3), (5, -1)])
def test_more_digits_than_an_integer_has_are_refused(precision: int, scale: int) -> None:
    with pytest.raises(ArgumentError, match="18 digits"):
        ExactNumeric(precision, scale)


def test_commits_survive_a_loss_of_power() -> None:
    with database().connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2


def test_who_reads_before_writing_is_not_turned_away_by_another_writer() -> None:
    table = table_of(Integer())
    with database().begin() as connection:
        table.create(connection)

    def write() -> None:
        # As another process does: here all share one connection.
        with closing(sqlite3.connect(str(database().url.database), timeout=60)) as other, other:
            other.execute("INSERT INTO t VALUES (2, 2)")

    with ThreadPool(1) as pool:
        with database().begin() as connection:
            assert connection.execute(select(table)).all() == []
            second = pool.apply_async(write)
            time.sleep(0.3)
            upsert(connection, table, [{"id": 1, "c": 1}])
        second.get(60)
    with database().connect() as connection:
        assert connection.scalars(select(table.c.id).order_by(table.c.id)).all() == [1, 2]


def test_database_that_was_deleted_is_not_written_on_to() -> None:
    table = table_of(Integer())
    for _ in range(2):
        with database().begin() as connection:
            table.create(connection)
            assert upsert(connection, table, [{"id": 1, "c": 1}]).inserted == 1
        file = Path(str(database().url.database))
        with closing(sqlite3.connect(file)) as other:
            assert other.execute("SELECT c FROM t").fetchall() == [(1,)]
        for part in file.parent.glob(f"{file.name}*"):
            part.unlink()


@pytest.mark.parametrize("url", ["duckdb:///x", "sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_url_that_leads_to_no_file_of_this_database_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(database_settings.__dict__, "database_url", SecretStr(url))
    with pytest.raises(ArgumentError, match="must begin with sqlite:/// and name a file"):
        database.make()


def test_relative_path_in_the_url_does_not_depend_on_the_current_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for given, file in [("var/a.db", ROOT / "var" / "a.db"), (f"{tmp_path}/a.db", tmp_path / "a.db")]:
        monkeypatch.setitem(database_settings.__dict__, "database_url", SecretStr(f"sqlite:///{given}"))
        assert database.make().url.database == str(file)


def wrong() -> str:
    """What `make doctor` says of the database, which has to be wrong."""
    found = doctor._finding("database", doctor.CHECKS["database"])
    assert found.verdict == "wrong", found
    return found.said


@pytest.mark.parametrize("mode", ["IMMEDIATE", "EXCLUSIVE"])
def test_doctor_finds_a_locked_database_within_seconds(mode: str) -> None:
    discovery.flows()
    prepare()
    with closing(sqlite3.connect(str(database().url.database), isolation_level=None)) as other:
        other.execute(f"BEGIN {mode}")
        began = time.monotonic()
        assert wrong() == f"another process has locked {place()}; end it, or wait until it is done"
        assert time.monotonic() - began < 20
    assert doctor._finding("database", doctor.CHECKS["database"]).verdict == "ok"


@pytest.mark.parametrize("table", ["sqlite_master", "alembic_version", "epochs", "steps"])
def test_doctor_finds_a_damaged_page(table: str) -> None:
    prepare()
    sink.release()
    file = Path(str(database().url.database))
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        found = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", [table]).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    # The first page holds the header, then the schema.
    first, end = (size * (found[0] - 1), size * found[0]) if found else (100, size)
    content = bytearray(file.read_bytes())
    content[first:end] = b"\xff" * (end - first)
    file.write_bytes(content)
    said = wrong()
    assert said.startswith(f"{place()} is damaged ("), said
    assert said.endswith("; put a backup in its place, or save what can be read: sqlite3 OLD .recover | sqlite3 NEW")
    assert "\n" not in said


def test_doctor_does_not_search_a_large_database_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of(Integer())
    with database().begin() as connection:
        table.create(connection)
        upsert(connection, table, [{"id": n, "c": n} for n in range(100_000)])
    monkeypatch.setattr("{{ cookiecutter.package_name }}.durable.upserts.PROBE", 0.0)
    probe()
