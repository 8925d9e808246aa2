"""The upsert on DuckDB: what is this database's own."""

import re
import subprocess
import sys
from contextlib import nullcontext
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Column, DateTime, Double, Float, Integer, MetaData, Numeric, String, Table, select, text
from sqlalchemy.exc import ArgumentError

from {{ cookiecutter.package_name }}.durable import tables
from {{ cookiecutter.package_name }}.durable.settings import ROOT
from {{ cookiecutter.package_name }}.durable.upserts import (
    ExactNumeric,
    database,
    database_settings,
    prepare,
    upsert,
)


def table_of(kind: Any) -> Table:
    return Table("t", MetaData(), Column("id", Integer, primary_key=True, autoincrement=False), Column("c", kind))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Double(), float("nan")),
        (ExactNumeric(38, 9), Decimal("12345678901234567890123456789.123456789")),
        (Numeric(15, 2), Decimal("1234567890123.45")),
        (DateTime(timezone=True), None),
    ],
)
def test_what_duckdb_keeps(kind: Any, value: Any) -> None:
    table = table_of(kind)
    with database().begin() as connection:
        table.create(connection)
        assert upsert(connection, table, [{"id": 1, "c": value}]).inserted == 1
        assert upsert(connection, table, [{"id": 1, "c": value}]).unchanged == 1
        assert repr(connection.scalar(select(table.c.c))) == repr(value)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (Integer(), 2**31, "does not fit an integer of 32 bits"),
        (Float(), 0.1, "declare the column as Double"),
        (Numeric(), Decimal(1), "declare it as durable.ExactNumeric"),
        (Numeric(16, 2), Decimal(1), "declare it as durable.ExactNumeric"),
    ],
)
def test_what_duckdb_would_change_is_refused(kind: Any, value: Any, message: str) -> None:
    with database().begin() as connection, pytest.raises(ValueError, match=message):
        upsert(connection, table_of(kind), [{"id": 1, "c": value}])


def test_another_process_is_told_who_has_the_file() -> None:
    with database().begin() as connection:
        connection.execute(text("SELECT 1"))
        script = "from {{ cookiecutter.package_name }}.durable.upserts import database; database().connect()"
        other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert other.returncode != 0
    assert "Conflicting lock is held" in other.stderr


@pytest.mark.parametrize("url", ["sqlite:///x", "duckdb://", "duckdb:///", "duckdb:///:memory:"])
def test_url_that_leads_to_no_file_of_this_database_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(database_settings.__dict__, "database_url", SecretStr(url))
    with pytest.raises(ArgumentError, match="must begin with duckdb:/// and name a file"):
        database.make()


def test_relative_path_in_the_url_does_not_depend_on_the_current_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for given, file in [("var/a.db", ROOT / "var" / "a.db"), (f"{tmp_path}/a.db", tmp_path / "a.db")]:
        monkeypatch.setitem(database_settings.__dict__, "database_url", SecretStr(f"duckdb:///{given}"))
        assert database.make().url.database == str(file)


@pytest.mark.parametrize(
    ("made", "change"),
    [
        ("c INTEGER", "is INTEGER in the database, and VARCHAR in the code: ALTER TABLE changes it"),
        ("", "is not in the database: bring it there with ALTER TABLE"),
        ("c VARCHAR", ""),
    ],
)
def test_column_that_is_another_one_in_the_code_ends_a_run(
    monkeypatch: pytest.MonkeyPatch, made: str, change: str
) -> None:
    """DuckDB would convert its values, such as 007 to 7."""
    prepare()
    metadata = MetaData()
    monkeypatch.setattr(tables, "metadata", metadata)
    table_of(String(20)).to_metadata(metadata)
    with database().begin() as connection:
        connection.execute(text(f"CREATE TABLE t (id INTEGER PRIMARY KEY, {made})"))
    with pytest.raises(ArgumentError, match=re.escape(f"the column t.c {change}")) if change else nullcontext():
        prepare()


def test_digits_that_the_database_does_not_keep_end_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare()
    metadata = MetaData()
    monkeypatch.setattr(tables, "metadata", metadata)
    table_of(ExactNumeric(12, 2)).to_metadata(metadata)
    prepare()
    prepare()
    metadata.clear()
    table_of(ExactNumeric(12, 3)).to_metadata(metadata)
    with pytest.raises(ArgumentError, match=r"t\.c keeps 2 digits after the point in the database, and 3 in the code"):
        prepare()
