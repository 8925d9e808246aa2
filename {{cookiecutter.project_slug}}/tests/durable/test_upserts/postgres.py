"""The upsert on PostgreSQL: what is this database's own."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from psycopg.errors import DeadlockDetected
from pydantic import SecretStr
from sqlalchemy import (
    JSON,
    REAL,
    Column,
    Date,
    DateTime,
    Double,
    Integer,
    MetaData,
    NullPool,
    Numeric,
    SmallInteger,
    String,
    Table,
    Text,
    create_engine,
    func,
    make_url,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from {{ cookiecutter.package_name }}.durable import discovery, doctor
from {{ cookiecutter.package_name }}.durable import rows as rows_module
from {{ cookiecutter.package_name }}.durable import upserts as upsert_module
from {{ cookiecutter.package_name }}.durable.rows import Columns, Shape
from {{ cookiecutter.package_name }}.durable.settings import PREFIX, ROOT
from {{ cookiecutter.package_name }}.durable.tables import UtcDateTime
from {{ cookiecutter.package_name }}.durable.upserts import (
    UpsertReport,
    database,
    database_settings,
    place,
    prepare,
    upsert,
)

from tests.support import UnavailableError, sink
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
        ("postgresql://u:secr@et@host/x", "has an @ too many; write one of the password as %40"),
    ],
)
def test_wrong_url_is_said_without_the_password(url: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(database_settings.__dict__, "database_url", SecretStr(url))
    with pytest.raises(ArgumentError, match=message) as caught:
        database.make()
    assert not re.search("secr|et@", str(caught.value))


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_encoding_and_style_of_a_database_make_no_difference(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"tests_{encoding.lower()}_{os.getpid()}"
    server = make_url(os.environ[sink.SERVER])
    url = server.set(database=name).update_query_dict({"options": "-c DateStyle=SQL,DMY"})
    columns = (Column("id", Integer, primary_key=True), Column("text", Text), Column("at", UtcDateTime))
    table = Table("t", MetaData(), *columns)
    row = {"id": 1, "text": "é", "at": datetime(2026, 2, 1, 3, 4, tzinfo=UTC)}
    monkeypatch.setitem(database_settings.__dict__, "database_url", SecretStr(url.render_as_string(False)))
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    other = database.make()
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} ENCODING {encoding} LOCALE 'C' TEMPLATE template0"))
        try:
            with other.begin() as writer:
                table.create(writer)
                assert upsert(writer, table, [row]).inserted == 1
                assert writer.execute(select(table)).one()._asdict() == row
        finally:
            other.dispose()
            connection.execute(text(f"DROP DATABASE {name}"))
    admin.dispose()


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


@pytest.mark.parametrize("count", [3, 5], ids=["one batch", "several batches"])
def test_partitioned_table_has_exact_counts(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upsert_module, "BATCH", 3)
    table = Table(
        "100% of %(days)s",
        MetaData(),
        Column("day", Date, primary_key=True),
        Column("id", Integer, primary_key=True),
        Column("n", Integer),
        Column("version", Integer),
        postgresql_partition_by="RANGE (day)",
    )

    def rows(n: int | None, version: int = 1) -> list[dict[str, Any]]:
        return [{"day": date(2013, 1 + i % 2, 1), "id": i, "n": n, "version": version} for i in range(count)]

    with database().begin() as connection:
        table.create(connection)
        for month in (1, 2):
            bounds = f"FOR VALUES FROM ('2013-0{month}-01') TO ('2013-0{month + 1}-01')"
            connection.execute(text(f'CREATE TABLE month{month} PARTITION OF "100% of %(days)s" {bounds}'))
        # What a trigger changes is not counted as an update of what was inserted.
        body = "'BEGIN NEW.n = 1; RETURN NEW; END'"
        connection.execute(text(f"CREATE FUNCTION one() RETURNS trigger AS {body} LANGUAGE plpgsql"))
        connection.execute(text("CREATE TRIGGER one BEFORE INSERT ON month1 FOR EACH ROW EXECUTE FUNCTION one()"))
        assert upsert(connection, table, rows(0)[:1]) == UpsertReport(1, 0, 0)
        connection.execute(text("DROP TRIGGER one ON month1"))
        assert upsert(connection, table, rows(1)) == UpsertReport(count - 1, 0, 1)
        assert upsert(connection, table, [*rows(1)[1:], {**rows(None)[0]}]) == UpsertReport(0, 1, count - 1)
        assert upsert(connection, table, rows(2, 0), newer="version") == UpsertReport(0, 0, count)
        assert upsert(connection, table, rows(2, 2), newer="version") == UpsertReport(0, count, 0)
        assert connection.execute(select(func.count(), func.sum(table.c.n))).one() == (count, 2 * count)


def test_session_that_turned_read_only_is_replaced() -> None:
    """A failover leaves sessions behind at a server that refuses to write."""
    table = table_of(Integer())
    with database().begin() as connection:
        table.create(connection)
    name = database().url.database
    with create_engine(os.environ[sink.SERVER], isolation_level="AUTOCOMMIT", poolclass=NullPool).connect() as server:
        server.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
        sink.release()
        with database().connect():
            server.execute(text(f'ALTER DATABASE "{name}" RESET default_transaction_read_only'))
    with database().connect() as connection, pytest.raises(DBAPIError, match="read-only") as raised:
        upsert(connection, table, [{"id": 1, "c": 1}])
    assert raised.value.connection_invalidated, "so the task is retried"
    with database().begin() as connection:
        assert upsert(connection, table, [{"id": 1, "c": 1}]).inserted == 1


def test_key_beside_a_serial_draws_a_number_a_row() -> None:
    """What the README says of it: it is not for an upsert to number rows."""
    columns = (Column("id", Integer, primary_key=True), Column("sku", String, unique=True))
    table = Table("prices", MetaData(), *columns)
    with database().begin() as connection:
        table.create(connection)
        for _ in range(3):
            upsert(connection, table, [{"sku": str(n)} for n in range(1000)], key="sku")
        assert connection.scalar(text("SELECT last_value FROM prices_id_seq")) == 3000


@pytest.fixture
def pooler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the connections of the database go through PgBouncer, in transaction mode."""
    try:
        url = sink.pool()
    except UnavailableError as error:
        pytest.skip(str(error))
    sink.release()
    with monkeypatch.context() as patch:
        patch.setitem(database_settings.__dict__, "database_url", SecretStr(url))
        yield
        sink.release()


@pytest.mark.usefixtures("pooler")
def test_pooler_may_give_each_transaction_another_session() -> None:
    """Sessions of the server are handed round, so nothing may rely on what an earlier transaction left in one."""
    table = table_of(DateTime(timezone=True))
    when = datetime(2013, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))

    def write(writer: int) -> set[tuple[int, str, str]]:
        seen = set()
        for number in range(20):
            with database().begin() as connection:
                upsert(connection, table, [{"id": 100 * writer + number, "c": when}])
                session = "SELECT pg_backend_pid(), current_setting('idle_in_transaction_session_timeout')"
                seen.add((*connection.execute(text(session)).one(), str(connection.scalar(select(table.c.c)))))
        return seen

    prepare()
    with database().begin() as connection:
        table.create(connection)
    with ThreadPool(4) as pool:
        seen = set().union(*pool.map(write, range(4)))
    assert {(timeout, at) for _, timeout, at in seen} == {("5min", "2013-01-01 10:00:00+00:00")}
    assert len({session for session, _, _ in seen}) == 2
    # The sessions go to others as they were.
    plain = create_engine(database().url, poolclass=NullPool, connect_args={"prepare_threshold": None})
    with plain.connect() as connection:
        assert connection.scalar(text("SHOW idle_in_transaction_session_timeout")) == "0"


many = Table("many", MetaData(), Column("id", Integer, primary_key=True), Column("c", Integer))


def in_order_of_input(_shape: Shape, columns: Columns, _ordered: bool) -> Columns:
    """The mutant: the rows as they come."""
    return columns


def collide(step: int, tries: int, ordered: bool, folder: Path) -> int:
    """Write many rows, up the keys or down, until two writers stand in each other's way; return how often they did."""
    met = folder / "met"
    if not ordered:
        vars(rows_module)["_one_a_key"] = in_order_of_input
    (folder / str(step)).touch()
    while len(list(folder.iterdir())) < 2:
        time.sleep(0.001)
    for number in range(tries):
        if met.exists():
            break
        try:
            with database().begin() as connection:
                upsert(connection, many, [{"id": n, "c": step * number} for n in range(3000)[::step]])
        except OperationalError as error:
            if isinstance(error.orig, DeadlockDetected):
                met.touch()
                return 1
            raise
    return 0


@pytest.mark.parametrize("ordered", [True, False])
def test_writers_without_the_order_of_keys_would_deadlock(ordered: bool, tmp_path: Path) -> None:
    tries = 20 if ordered else 600
    with database().begin() as connection:
        many.create(connection)
        upsert(connection, many, [{"id": n, "c": None} for n in range(3000)])
    with FORKS.Pool(2) as pool:
        writers = [(step, tries, ordered, tmp_path) for step in (1, -1)]
        deadlocks = pool.starmap_async(collide, writers, chunksize=1).get(90)
    assert (sum(deadlocks) > 0) != ordered


@pytest.mark.parametrize("mode", ["SHARE", "ACCESS EXCLUSIVE"])
def test_doctor_finds_a_locked_table_within_seconds(mode: str) -> None:
    discovery.flows()
    prepare()
    with database().begin() as other:
        other.execute(text(f"LOCK TABLE epochs IN {mode} MODE"))
        began = time.monotonic()
        found = doctor._finding("database", doctor.CHECKS["database"])
        assert time.monotonic() - began < 20
    assert found.verdict == "wrong"
    assert found.said.startswith(f"another session has locked a table of {place()}; end it")
    assert doctor._finding("database", doctor.CHECKS["database"]).verdict == "ok"


@pytest.mark.parametrize("right", ["SELECT", "INSERT", "UPDATE", "DELETE"])
def test_doctor_finds_a_right_that_is_missing(right: str, monkeypatch: pytest.MonkeyPatch) -> None:
    discovery.flows()
    prepare()
    role = f"role_{uuid4().hex}"
    others = ", ".join({"SELECT", "INSERT", "UPDATE", "DELETE"} - {right})
    with database().begin() as connection:
        connection.execute(text(f"CREATE ROLE {role}"))
        connection.execute(text(f"GRANT USAGE ON SCHEMA public TO {role}"))
        connection.execute(text(f"GRANT {others} ON ALL TABLES IN SCHEMA public TO {role}"))
    url = make_url(database_settings.database_url.get_secret_value()).update_query_dict({"options": f"-c role={role}"})
    sink.release()
    with monkeypatch.context() as patch:
        secret = SecretStr(url.render_as_string(hide_password=False))
        patch.setitem(vars(database_settings), "database_url", secret)
        found = doctor._finding("database", doctor.CHECKS["database"])
        sink.release()
    with database().begin() as connection:
        connection.execute(text(f"DROP OWNED BY {role}"))
        connection.execute(text(f"DROP ROLE {role}"))
    assert found.verdict == "wrong", found
    assert "permission denied for table" in found.said
    assert "grant SELECT, INSERT, UPDATE and DELETE on the project's tables to the user of" in found.said
