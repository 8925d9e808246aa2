"""The upsert: exact counts, only what changed, and nothing at all where the input is wrong."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, select, text

from {{ cookiecutter.package_name }}.tables import UtcDateTime
from {{ cookiecutter.package_name }}.upsert import BATCH, UpsertReport, database, upsert

things = Table(
    'select "quoted" Ünïcode',
    MetaData(),
    Column("group", String, primary_key=True),
    Column('na"me', String, primary_key=True),
    Column("n", Integer),
    Column("order", Integer),
    Column("at", UtcDateTime),
)


@pytest.fixture
def connection() -> Iterator[Connection]:
    with database().begin() as connection:
        things.create(connection)
        yield connection


def row(name: str, n: int | None = 1, **more: Any) -> dict[str, Any]:
    return {"group": "a", 'na"me': name, "n": n, **more}


def stored(connection: Connection) -> dict[str, int]:
    return dict(connection.execute(select(things.c['na"me'], things.c.n)).tuples().all())


def test_counts_are_exact(connection: Connection) -> None:
    assert upsert(connection, things, [row("a"), row("b")]) == UpsertReport(2, 0, 0)
    assert upsert(connection, things, [row("a"), row("b", 2), row("c")]) == UpsertReport(1, 1, 1)
    assert stored(connection) == {"a": 1, "b": 2, "c": 1}


def test_unchanged_rows_are_not_written(connection: Connection) -> None:
    name = connection.dialect.identifier_preparer.quote(things.name)
    upsert(connection, things, [row("a"), row("b", None)])
    connection.execute(text(f"CREATE TRIGGER t BEFORE UPDATE ON {name} BEGIN SELECT RAISE(ABORT, 'written'); END"))
    assert upsert(connection, things, [row("a"), row("b", None)]) == UpsertReport(0, 0, 2)


def test_null_is_a_value_that_changes(connection: Connection) -> None:
    upsert(connection, things, [row("a", None), row("b", 1)])
    assert upsert(connection, things, [row("a", 1), row("b", None)]) == UpsertReport(0, 2, 0)


def test_of_rows_with_one_key_the_last_wins(connection: Connection) -> None:
    assert upsert(connection, things, [row("a", 1), row("a", 3), row("a", 2)]) == UpsertReport(1, 0, 0)
    assert stored(connection) == {"a": 2}


def test_columns_that_are_left_out_keep_their_value(connection: Connection) -> None:
    upsert(connection, things, [row("a", 1, order=7)])
    upsert(connection, things, [row("a", 2)])
    assert connection.execute(select(things.c.n, things.c.order)).one() == (2, 7)


def test_rows_of_nothing_but_a_key(connection: Connection) -> None:
    keys = [{"group": "a", 'na"me': "a"}]
    assert upsert(connection, things, keys) == UpsertReport(1, 0, 0)
    assert upsert(connection, things, keys) == UpsertReport(0, 0, 1)


def test_no_rows_are_no_work(connection: Connection) -> None:
    assert upsert(connection, things, []) == UpsertReport()


def test_rows_are_read_in_batches(connection: Connection) -> None:
    count = 2 * BATCH + 1
    assert upsert(connection, things, (row(str(n)) for n in range(count))) == UpsertReport(count, 0, 0)
    assert upsert(connection, things, (row(str(n), n % 2) for n in range(count))).updated == BATCH + 1


def test_times_come_back_in_utc(connection: Connection) -> None:
    local = datetime(2013, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    upsert(connection, things, [row("a", at=local)])
    assert connection.scalar(select(things.c.at)) == datetime(2013, 1, 1, 10, tzinfo=UTC)
    assert upsert(connection, things, [row("a", at=local.astimezone(UTC))]).unchanged == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row("a"), {"group": "a", 'na"me': "b"}], "the first one has"),
        ([row("a"), row("b", more=1)], "the first one has"),
        ([row("a", more=1)], "has no column more"),
        ([{"group": "a", "n": 1}], 'lack the key column na"me'),
        ([row("a"), {**row("b"), "group": None}], "has no value in its key"),
        ([row("a", at=datetime(2013, 1, 1))], "has no time zone"),
    ],
)
def test_wrong_rows_are_refused_and_nothing_is_written(
    connection: Connection, rows: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        upsert(connection, things, rows)
    assert stored(connection) == {}


def test_table_without_a_key_is_refused(connection: Connection) -> None:
    with pytest.raises(ValueError, match="no primary key"):
        upsert(connection, Table("keyless", MetaData(), Column("n", Integer)), [{"n": 1}])


def test_constraints_other_than_the_key_are_not_swallowed(connection: Connection) -> None:
    strict = Table("strict", MetaData(), Column("id", Integer, primary_key=True), Column("n", Integer, nullable=False))
    strict.create(connection)
    with pytest.raises(Exception, match="NOT NULL"):
        upsert(connection, strict, [{"id": 1, "n": None}])


def test_commits_survive_a_loss_of_power() -> None:
    with database().connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2
