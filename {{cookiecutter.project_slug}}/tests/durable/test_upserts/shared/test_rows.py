"""The upsert: exact counts, only what changed, and nothing at all where the input is wrong."""

import importlib
import re
import traceback
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import (
    CHAR,
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Connection,
    Date,
    DateTime,
    Double,
    Enum,
    Identity,
    Index,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    PickleType,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError

from {{ cookiecutter.package_name }}.durable import upserts as upsert_module
from {{ cookiecutter.package_name }}.durable.tables import UtcDateTime
from {{ cookiecutter.package_name }}.durable.upserts import BATCH, UpsertReport, database, upsert

Row = dict[str, Any]
ExactNumeric: Any = getattr(upsert_module, "ExactNumeric", Numeric)

things = Table(
    'select "quoted" Ünïcode',
    MetaData(),
    Column("group", String, primary_key=True),
    Column('na"me', String, primary_key=True),
    Column("n", Integer),
    Column("order", Integer),
    Column("at", UtcDateTime),
)
kinds = Table(
    "kinds",
    MetaData(),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("flag", Boolean),
    Column("number", BigInteger),
    Column("double", Double),
    Column("exact", ExactNumeric(18, 4)),
    Column("short", String(5)),
    Column("text", Text),
    Column("bytes", LargeBinary),
    Column("day", Date),
    Column("local", DateTime),
    Column("moment", UtcDateTime),
    Column("uuid", Uuid),
    Column("json", JSON),
    Column("must", Integer, nullable=False),
)
versions = Table(
    "versions",
    MetaData(),
    Column("id", String, primary_key=True),
    Column("code", String, nullable=False),
    Column("version", Integer),
    Column("value", String),
    UniqueConstraint("code"),
    Index("by_value", "value"),
)


@pytest.fixture
def connection() -> Iterator[Connection]:
    with database().begin() as connection:
        for table in (things, kinds, versions):
            table.create(connection)
    with database().begin() as connection:
        yield connection


def row(name: str, n: int | None = 1, **more: Any) -> Row:
    return {"group": "a", 'na"me': name, "n": n, **more}


def stored(connection: Connection) -> dict[str, int]:
    return dict(connection.execute(select(things.c['na"me'], things.c.n)).tuples().all())


def test_counts_are_exact(connection: Connection) -> None:
    assert upsert(connection, things, [row("a"), row("b")]) == UpsertReport(2, 0, 0)
    assert upsert(connection, things, [row("a"), row("b", 2), row("c")]) == UpsertReport(1, 1, 1)
    assert stored(connection) == {"a": 1, "b": 2, "c": 1}


def test_null_is_a_value_that_changes(connection: Connection) -> None:
    upsert(connection, things, [row("a", None), row("b", 1), row("c", None)])
    assert upsert(connection, things, [row("a", 1), row("b", None), row("c", None)]) == UpsertReport(0, 2, 1)


def test_of_rows_with_one_key_the_last_wins(connection: Connection) -> None:
    assert upsert(connection, things, [row("a", 1), row("a", 3), row("a", 2)]) == UpsertReport(1, 0, 0, 2)
    assert upsert(connection, things, [row("a", 1), row("a", 2)]) == UpsertReport(0, 0, 1, 1)
    assert stored(connection) == {"a": 2}


def test_columns_that_are_left_out_keep_their_value(connection: Connection) -> None:
    upsert(connection, things, [row("a", 1, order=7)])
    upsert(connection, things, [row("a", 2)])
    assert connection.execute(select(things.c.n, things.c.order)).one() == (2, 7)


def test_rows_of_nothing_but_a_key(connection: Connection) -> None:
    keys = [{"group": "a", 'na"me': "a"}]
    assert upsert(connection, things, keys) == UpsertReport(1, 0, 0)
    assert upsert(connection, things, keys) == UpsertReport(0, 0, 1)


def test_columns_may_come_in_another_order(connection: Connection) -> None:
    assert upsert(connection, things, [row("a"), dict(reversed(row("b", 2).items()))]).inserted == 2
    assert stored(connection) == {"a": 1, "b": 2}


def test_columns_may_come_in_another_order_than_the_tables(connection: Connection) -> None:
    rows = [{"value": "v", "version": 1, "code": "c", "id": "i"}]
    assert upsert(connection, versions, rows) == UpsertReport(1, 0, 0)
    assert connection.execute(select(versions)).one() == ("i", "c", 1, "v")
    assert upsert(connection, versions, rows, newer="version") == UpsertReport(0, 0, 1)
    assert upsert(connection, versions, [{**rows[0], "version": 2, "value": "w"}]) == UpsertReport(0, 1, 0)
    assert connection.execute(select(versions)).one() == ("i", "c", 2, "w")


def test_no_rows_are_no_work(connection: Connection) -> None:
    assert upsert(connection, things, []) == UpsertReport()


def test_rows_are_read_in_batches_and_the_last_wins_over_them_too(connection: Connection) -> None:
    count = BATCH + 1
    assert upsert(connection, things, (row(str(n)) for n in range(count))) == UpsertReport(count, 0, 0)
    again = [*(row(str(n), n % 2) for n in range(count)), row("1", 7)]
    assert upsert(connection, things, iter(again)).updated == BATCH // 2 + 2
    assert stored(connection)["1"] == 7


def test_memory_does_not_grow_with_the_rows(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upsert_module, "BATCH", 2000)

    def peak(count: int) -> int:
        tracemalloc.start()
        upsert(connection, versions, ({"id": str(n), "code": str(n), "version": 1} for n in range(count)))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    # The first call imports what it needs, and Python collects what it does not only after some batches.
    _, few, many = peak(2000), peak(12_000), peak(24_000)
    assert many < 1.2 * few


def test_times_come_back_in_utc(connection: Connection) -> None:
    local = datetime(2013, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    upsert(connection, things, [row("a", at=local)])
    assert connection.scalar(select(things.c.at)) == datetime(2013, 1, 1, 10, tzinfo=UTC)
    assert upsert(connection, things, [row("a", at=local.astimezone(UTC))]).unchanged == 1
    assert connection.scalar(select(things.c.at).where(things.c.at == local)), "found by a time of any zone"


BERLIN = ZoneInfo("Europe/Berlin")
FIRST = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN)
"""Summer time, 00:30 in UTC; an hour later it is 02:30 again."""
SECOND = FIRST.replace(fold=1)

moments = Table(
    "moments",
    MetaData(),
    Column("at", UtcDateTime, primary_key=True),
    Column("changed", UtcDateTime),
    Column("n", Integer),
)


def test_the_hour_that_comes_twice_in_autumn_is_two_keys(connection: Connection) -> None:
    moments.create(connection)
    assert upsert(connection, moments, [{"at": FIRST, "n": 1}, {"at": SECOND, "n": 2}]) == UpsertReport(2, 0, 0)
    same = [{"at": SECOND, "n": 3}, {"at": SECOND.astimezone(UTC), "n": 4}]
    assert upsert(connection, moments, same) == UpsertReport(0, 1, 0, 1)
    found = connection.execute(select(moments.c.at, moments.c.n).order_by(moments.c.at)).tuples().all()
    assert found == [(datetime(2026, 10, 25, 0, 30, tzinfo=UTC), 1), (datetime(2026, 10, 25, 1, 30, tzinfo=UTC), 4)]


def test_the_newer_hour_of_the_two_in_autumn_wins(connection: Connection) -> None:
    moments.create(connection)
    rows = [{"at": FIRST, "changed": SECOND, "n": 2}, {"at": FIRST, "changed": FIRST, "n": 1}]
    upsert(connection, moments, rows, newer="changed")
    assert connection.scalar(select(moments.c.n)) == 2


class Stamp(datetime):
    """A moment as pandas has it."""

    nanosecond = 1


class NoTime(datetime):
    """A moment that is none, as NaT of pandas."""

    __hash__ = datetime.__hash__

    def __ne__(self, other: object) -> bool:
        return True


VALUES: dict[str, list[Any]] = {
    "flag": [True, False],
    "number": [0, -(2**63), 2**63 - 1],
    "double": [0.1, -1e308, 5e-324, float("inf"), 3, 2**70],
    "exact": [Decimal("1.1"), Decimal("-99999999999999.9999"), Decimal(0), 7, Decimal("1E+3")],
    "short": ["", "fünf!", "'\"\\;"],
    "text": ["line\nend\ttab\r\x01", "\\n \\x41 {} , NULL null", "😀 Ünïcode ' \" %s :name ?", "x" * 100_000],
    "bytes": [b"", b"\x00\xff\\", bytes(range(256))],
    "day": [date(1, 1, 1), date(2013, 1, 31), date(9999, 12, 31)],
    "local": [datetime(2013, 1, 1, 2, 30, 0, 1), datetime(1900, 1, 1)],
    "moment": [
        datetime(2013, 1, 1, 23, 59, 59, 999999, UTC),
        datetime(2013, 6, 1, tzinfo=timezone(timedelta(hours=-5))),
        # Local time, 53 minutes and 28 seconds from UTC.
        datetime(1800, 1, 1, tzinfo=BERLIN),
    ],
    "uuid": [UUID(int=0), UUID("12345678-1234-5678-1234-567812345678")],
    "json": [{"b": [1, 2.5, None, True], "a": {"ü": '"\n\\'}}, [], "text", 0, True, {"big": 10**20, "small": 1e-9}],
}


@pytest.mark.parametrize("name", VALUES)
def test_values_come_back_as_they_went_in_and_are_unchanged_the_second_time(connection: Connection, name: str) -> None:
    rows = [{"id": n, name: value, "must": 1} for n, value in enumerate([None, *VALUES[name]])]
    assert upsert(connection, kinds, rows) == UpsertReport(len(rows), 0, 0)
    assert upsert(connection, kinds, rows) == UpsertReport(0, 0, len(rows))
    found = connection.scalars(select(kinds.c[name]).order_by(kinds.c.id)).all()
    assert found == [None, *VALUES[name]]
    assert [type(value) for value in found if name not in {"exact", "double"}] == [
        type(value) for value in [None, *VALUES[name]] if name not in {"exact", "double"}
    ]
    swapped = [{"id": n, name: value, "must": 1} for n, value in enumerate(reversed([None, *VALUES[name]]))]
    assert upsert(connection, kinds, swapped).updated >= len(rows) - 1
    assert connection.scalars(select(kinds.c[name]).order_by(kinds.c.id)).all() == [*reversed(VALUES[name]), None]


REFUSED: dict[str, list[tuple[Any, str]]] = {
    "flag": [(1, "int where bool"), ("yes", "str where bool")],
    "number": [
        (2**63, "does not fit an integer of 64 bits"),
        (1.5, "float where int"),
        ("1", "str where int"),
        (True, "bool where int"),
    ],
    "double": [
        ("1.5", "str where float"),
        (2**53 + 1, "not exact"),
        (Decimal(1), "Decimal where float"),
        (False, "bool where"),
        (10**400, "too large"),
    ],
    "exact": [
        (Decimal("0.00001"), "does not fit"),
        (Decimal(10**14), "does not fit"),
        (Decimal("NaN"), "NaN|does not fit"),
        (Decimal("Infinity"), "Infinity|does not fit"),
        (1.5, "float where"),
    ],
    "short": [("sechs!", "has 6 characters; 5 fit"), (b"a", "bytes where str")],
    "text": [("\ud800", "half of a character"), (1, "int where str")],
    "bytes": [("text", "str where bytes")],
    "day": [
        (datetime(2013, 1, 1), "datetime where date"),
        ("2013-01-01", "str where date"),
        (Stamp(2013, 1, 1), "Stamp where date"),
    ],
    "local": [
        (Stamp(2013, 1, 1), "nanoseconds"),
        (NoTime(2013, 1, 1), "no timestamp"),
        (datetime(2013, 1, 1, tzinfo=UTC), "has a time zone"),
        (date(2013, 1, 1), "date where datetime"),
    ],
    "moment": [
        (datetime(2013, 1, 1), "has no time zone"),
        ("2013-01-01", "str where datetime"),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), "out of range"),
    ],
    "uuid": [("12345678-1234-5678-1234-567812345678", "str where UUID")],
    "json": [
        (float("nan"), "is not JSON"),
        ({"a": float("inf")}, "is not JSON"),
        ({1: 2}, "would come back"),
        ((1, 2), "would come back"),
        ({"a": {1, 2}}, "is not JSON"),
        ({"\ud800": 1}, "is not JSON"),
    ],
    "must": [(None, "NOT NULL")],
}


@pytest.mark.parametrize(
    ("name", "value", "message"), [(name, *case) for name, cases in REFUSED.items() for case in cases]
)
def test_values_that_would_come_back_as_others_are_refused(
    connection: Connection, name: str, value: Any, message: str
) -> None:
    rows = [{"id": 1, "must": 1, name: VALUES.get(name, [1])[0]}, {"id": 2, "must": 1, name: value}]
    with pytest.raises(ValueError, match=f"row 2, column {name} of table kinds: .*{message}"):
        upsert(connection, kinds, rows)
    assert connection.execute(select(kinds)).all() == []


def test_a_refused_value_is_not_in_the_error_nor_in_its_causes(connection: Connection) -> None:
    secrets: dict[str, Any] = {
        "number": 12345678901234567890,
        "double": 9876543210123456789,
        "exact": Decimal("98765432.12345678"),
        "short": "secret!",
        "text": "secret\ud800",
        "bytes": "secret",
        "day": "secret",
        "local": datetime(2987, 1, 1, tzinfo=UTC),
        "moment": datetime(2987, 1, 1),
        "uuid": "secret",
        "json": {"secret": {1}},
    }
    for name, value in secrets.items():
        with pytest.raises(ValueError, match=f"^row 1, column {name} of table kinds: ") as caught:
            upsert(connection, kinds, [{"id": 1, "must": 1, name: value}])
        assert not re.search("secret|2987|8765432|45678901", str(caught.value))
        assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row("a"), {"group": "a", 'na"me': "b"}], 'row 2 has the columns group, na"me; the first one has'),
        ([row("a"), row("b", more=1)], "the first one has"),
        ([row("a", more=1)], "has no column more"),
        ([{"group": "a", "n": 1}], 'lack the column na"me'),
        ([row("a"), {**row("b"), "group": None}], "has no value, and is part of the key"),
        ([row("a", at=datetime(2013, 1, 1))], "has no time zone"),
    ],
)
def test_wrong_rows_are_refused_and_nothing_is_written(connection: Connection, rows: list[Row], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        upsert(connection, things, rows)
    assert stored(connection) == {}


def test_wrong_row_of_a_later_batch_leaves_nothing_of_the_earlier_ones() -> None:
    with database().begin() as connection:
        things.create(connection)
    rows = [*(row(str(n)) for n in range(BATCH)), row("wrong", "1")]  # type: ignore[arg-type]
    wrong = f"^row {BATCH + 1}, .*str where int"
    with database().connect() as connection, connection.begin(), pytest.raises(ValueError, match=wrong):
        upsert(connection, things, iter(rows))
    with database().connect() as connection:
        assert stored(connection) == {}


@pytest.mark.parametrize(
    ("kind", "value"),
    [(Enum("a", "b"), "a"), (CHAR(5), "a"), (Uuid(as_uuid=False), "a"), (Interval(), timedelta(1)), (PickleType(), 1)],
    ids=repr,
)
def test_types_that_are_not_known_are_refused_by_name(connection: Connection, kind: Any, value: Any) -> None:
    odd = Table("odd", MetaData(), Column("id", Integer, primary_key=True), Column("c", kind))
    with pytest.raises(ValueError, match=r"column c of table odd: the type .* is not one that an upsert knows"):
        upsert(connection, odd, [{"id": 1, "c": value}])


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (Column("c", Integer, nullable=False), "lack the column c, which is NOT NULL"),
        (Column("c", Integer, default=7), "lack the column c, whose default is Python's"),
        (Column("c", Integer, onupdate=7), "lack the column c, whose onupdate is Python's"),
        (Column("c", DateTime, onupdate=datetime.now), "lack the column c, whose onupdate is Python's"),
        (Column("C", Integer, key="c"), "another key than its name"),
    ],
)
def test_columns_that_a_new_row_cannot_do_without_are_wanted(
    connection: Connection, column: Column[Any], message: str
) -> None:
    odd = Table("odd", MetaData(), Column("id", Integer, primary_key=True), column)
    with pytest.raises(ValueError, match=message):
        upsert(connection, odd, [{"id": 1}])


@pytest.mark.parametrize("by", [Computed("id"), Identity(always=True)], ids=["computed", "identity"])
def test_columns_that_the_database_computes_are_refused(connection: Connection, by: Any) -> None:
    odd = Table("odd", MetaData(), Column("id", Integer, primary_key=True), Column("c", Integer, by))
    with pytest.raises(ValueError, match="have the column c, which the database computes"):
        upsert(connection, odd, [{"id": 1, "c": 1}])


def test_deferrable_constraint_is_no_key(connection: Connection) -> None:
    odd = Table("odd", MetaData(), Column("id", Integer, primary_key=True), UniqueConstraint("id", deferrable=True))
    odd.primary_key.deferrable = True
    with pytest.raises(ValueError, match="no unique constraint on id"):
        upsert(connection, odd, [{"id": 1}])


def test_columns_with_a_default_of_the_database_may_be_left_out(connection: Connection) -> None:
    odd = Table(
        "odd",
        MetaData(),
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("c", Integer, nullable=False, server_default="7"),
    )
    odd.create(connection)
    upsert(connection, odd, [{"id": 1}])
    assert connection.execute(select(odd)).one() == (1, 7)


def test_onupdate_of_sql_counts_for_rows_that_are_updated(connection: Connection) -> None:
    importlib.import_module("prefect.server.utilities.database")  # changes how SQLAlchemy writes the time
    stamped = Table(
        "stamped",
        MetaData(),
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("n", Integer),
        Column("at", UtcDateTime, onupdate=func.now()),
        Column("by", String, onupdate=func.lower("A%'B")),
    )
    stamped.create(connection)
    upsert(connection, stamped, [{"id": 1, "n": 1}, {"id": 2, "n": 1}])
    assert upsert(connection, stamped, [{"id": 1, "n": 1}, {"id": 2, "n": 2}]) == UpsertReport(0, 1, 1)
    unchanged, changed = connection.execute(select(stamped).order_by(stamped.c.id))
    assert unchanged == (1, 1, None, None)
    assert abs(changed.at - datetime.now(UTC)) < timedelta(minutes=1)
    assert changed.by == "a%'b"
    given = {"id": 1, "n": 3, "at": datetime(2013, 1, 1, tzinfo=UTC), "by": "rows"}
    upsert(connection, stamped, [given])
    assert connection.execute(select(stamped).where(stamped.c.id == 1)).one()._asdict() == given


@pytest.mark.parametrize("name", ["100%", "%(x)s", ":x", "a:b"])
@pytest.mark.parametrize("count", [1, BATCH + 1])
def test_names_of_tables_may_hold_what_drivers_read(connection: Connection, name: str, count: int) -> None:
    table = Table(name, MetaData(), Column("id", Integer, primary_key=True, autoincrement=False))
    table.create(connection)
    assert upsert(connection, table, ({"id": n} for n in range(count))).inserted == count


def test_a_table_with_the_name_of_what_arrives_is_refused(connection: Connection) -> None:
    with pytest.raises(ValueError, match="is called `excluded`"):
        upsert(connection, Table("excluded", MetaData(), Column("id", Integer, primary_key=True)), [{"id": 1}])


def test_a_transaction_that_is_not_committed_leaves_nothing_behind() -> None:
    with database().begin() as first:
        things.create(first)
    for _ in range(2):
        with database().connect() as other:
            assert upsert(other, things, [row("a")]).inserted == 1
    with database().begin() as other:
        assert upsert(other, things, [row("a")]).inserted == 1


@pytest.mark.parametrize("column", [Column("id", JSON, primary_key=True), Column("id", Double, primary_key=True)])
def test_values_that_cannot_tell_rows_apart_are_refused(connection: Connection, column: Column[Any]) -> None:
    table = Table("odd", MetaData(), column)
    with pytest.raises(ValueError, match=r"tell rows apart|NaN"):
        upsert(connection, table, [{"id": float("nan")}])


def test_table_without_a_key_is_refused(connection: Connection) -> None:
    with pytest.raises(ValueError, match="no primary key"):
        upsert(connection, Table("keyless", MetaData(), Column("n", Integer)), [{"n": 1}])


def test_key_may_be_another_unique_constraint(connection: Connection) -> None:
    upsert(connection, versions, [{"id": "1", "code": "a", "value": "old"}])
    assert upsert(connection, versions, [{"id": "1", "code": "a", "value": "new"}], key=["code"]).updated == 1
    assert upsert(connection, versions, [{"id": "1", "code": "a", "value": "new"}], key="code").unchanged == 1
    assert connection.execute(select(versions.c.id, versions.c.value)).one() == ("1", "new")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": ["value"]}, "no unique constraint on value"),
        ({"key": ["id", "code"]}, "no unique constraint on id, code"),
        ({"key": ["nonsense"]}, "no unique constraint on nonsense"),
        ({"newer": "nonsense"}, "lack the column nonsense"),
        ({"newer": "id"}, "is a column of the key"),
    ],
)
def test_wrong_key_or_version_is_refused(connection: Connection, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        upsert(connection, versions, [{"id": "1", "code": "a", "version": 1, "value": "x"}], **options)


@pytest.mark.parametrize("where", ["c", "lower(c)", "c, where"])
def test_unique_index_of_some_rows_or_of_an_expression_is_no_key(connection: Connection, where: str) -> None:
    key = Column("id", Integer, primary_key=True, autoincrement=False)
    odd = Table("odd", MetaData(), key, Column("c", String))
    some: dict[str, Any] = {f"{connection.dialect.name}_where": odd.c.c != "x"} if where == "c, where" else {}
    Index("odd_c", func.lower(odd.c.c) if where == "lower(c)" else odd.c.c, unique=True, **some)
    if where == "c":
        odd.create(connection)
        assert upsert(connection, odd, [{"id": 1, "c": "a"}], key="c").inserted == 1
    else:
        with pytest.raises(ValueError, match="no unique constraint on c"):
            upsert(connection, odd, [{"id": 1, "c": "a"}], key="c")


def version(number: int | None, value: str, name: str = "a") -> Row:
    return {"id": name, "code": name, "version": number, "value": value}


def test_older_rows_are_not_written(connection: Connection) -> None:
    def write(*rows: Row) -> UpsertReport:
        return upsert(connection, versions, rows, newer="version")

    assert write(version(2, "two")) == UpsertReport(1, 0, 0)
    assert write(version(1, "one")) == UpsertReport(0, 0, 1), "older"
    assert connection.scalar(select(versions.c.value)) == "two"
    assert write(version(2, "corrected")) == UpsertReport(0, 1, 0), "as old: the one that comes later counts"
    assert write(version(2, "corrected")) == UpsertReport(0, 0, 1)
    assert connection.scalar(select(versions.c.value)) == "corrected"
    assert write(version(3, "three"), version(5, "five"), version(4, "four")) == UpsertReport(0, 1, 0, 2)
    assert connection.scalar(select(versions.c.value)) == "five", "the newest of a batch"
    assert write(version(6, "first"), version(6, "last")) == UpsertReport(0, 1, 0, 1)
    assert connection.scalar(select(versions.c.value)) == "last", "the last of the newest"


def test_a_row_without_a_version_is_older_than_any_other(connection: Connection) -> None:
    upsert(connection, versions, [version(None, "unknown")])
    assert upsert(connection, versions, [version(1, "one")], newer="version").updated == 1
    with pytest.raises(ValueError, match="neither newer nor older"):
        upsert(connection, versions, [version(None, "unknown")], newer="version")


def test_constraints_other_than_the_key_are_not_swallowed(connection: Connection) -> None:
    upsert(connection, versions, [{"id": "1", "code": "a"}])
    with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
        upsert(connection, versions, [{"id": "2", "code": "a"}])


SECRETS = ["SECRET", "a\nSECRET\n", "'SECRET\" ", "x" * 200_000 + "SECRET"]


@pytest.mark.parametrize("wrong", ["unique", "check", "statement"])
@pytest.mark.parametrize("secret", SECRETS, ids=["plain", "lines", "quotes", "long"])
def test_database_error_is_one_line_without_the_statement_and_its_values(
    wrong: str, secret: str, connection: Connection
) -> None:
    key = Column("id", Integer, primary_key=True, autoincrement=False)
    odd = Table("odd", MetaData(), key, Column("name", String(200_010), CheckConstraint("name <> 'a'"), unique=True))
    if wrong == "check":
        odd.append_constraint(CheckConstraint("id < 2"))
    odd.create(connection)
    upsert(connection, odd, [{"id": 1, "name": secret[-100:]}])
    statement = text("SELECT nonsense FROM odd WHERE name = :name")

    def fail() -> None:
        if wrong == "statement":
            connection.execute(statement, {"name": secret})
        upsert(connection, odd, [{"id": 2, "name": secret[-100:] if wrong == "unique" else secret}])

    with pytest.raises(DBAPIError) as raised:
        fail()
    shown = [str(raised.value), repr(raised.value), "".join(traceback.format_exception(raised.value))]
    assert "\n" not in shown[0]
    assert not [text for text in shown if "SECRET" in text or "nonsense FROM" in text or len(text) > 20_000]
