"""The upsert on DuckDB: what is this database's own."""

import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Column, DateTime, Double, Float, Integer, MetaData, Numeric, Table, select, text
from sqlalchemy.exc import ArgumentError

from {{ cookiecutter.package_name }}.durable.upserts import ExactNumeric, database, database_settings, upsert


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


def test_wrong_url_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(database_settings.__dict__, "database_url", SecretStr("sqlite:///x"))
    with pytest.raises(ArgumentError, match="must begin with duckdb:///"):
        database.__wrapped__()
