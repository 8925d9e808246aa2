"""Rows on their way to another database arrive unchanged, all of them or none."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    Text,
    Uuid,
    insert,
    select,
)

from {{ cookiecutter.package_name }}.durable import (
    ExactNumeric,
    InputError,
    UtcDateTime,
    discovery,
    metadata,
    tables,
    transfer,
    upsert,
)
from {{ cookiecutter.package_name }}.durable.cli import main
from {{ cookiecutter.package_name }}.durable.outbox import effect, outbox, write
from {{ cookiecutter.package_name }}.durable.tables import create
from {{ cookiecutter.package_name }}.durable.upserts import database

from tests.support import sink
from tests.support.processes import Child

ROWS: list[dict[str, Any]] = [
    {
        "id": number,
        "amount": amount,
        "ratio": ratio,
        "name": name,
        "note": note,
        "changed_at": changed_at,
        "day": date(1, 1, 1) + timedelta(days=number % 7),
        "local": datetime(2026, 3, 29, 2, 30, 0, 1),
        "raw": raw,
        "doc": doc,
        "flag": flag,
        "code": code,
        "small": small,
    }
    for number, amount, ratio, name, note, changed_at, raw, doc, flag, code, small in [
        (
            2**63 - 1,
            Decimal("999999999999.999999"),
            1.7976931348623157e308,
            "Zoë 🦊 \u2028",
            "",
            datetime(2026, 10, 25, 2, 30, 0, 999999, timezone(timedelta(hours=5, minutes=45))),
            b"\x00\xff\\",
            {"b": [1, 2.5, None, True], "a": {"é": "🦊", "": ""}},
            True,
            UUID(int=0),
            -32768,
        ),
        (
            -(2**63),
            Decimal("-0.000001"),
            5e-324,
            "a\"b'c\\d\n\t{},NULL",
            None,
            datetime(1, 1, 2, tzinfo=UTC),
            b"",
            [],
            False,
            UUID(int=2**128 - 1),
            32767,
        ),
        (0, Decimal("-0"), 0.1, "NULL", "NULL", datetime(9999, 12, 31, tzinfo=UTC), None, "text", None, None, None),
        (1, None, None, "\\N", " ", None, None, None, None, None, None),
    ]
]
"""Values that databases keep in ways of their own."""


def add_gadgets() -> Table:
    """Put a table with columns of all kinds on the metadata of the flows."""
    return Table(
        "gadgets",
        metadata,
        Column("id", BigInteger, primary_key=True, autoincrement=False),
        Column("amount", ExactNumeric(18, 6)),
        Column("ratio", Double),
        Column("name", String(50), nullable=False),
        Column("note", Text),
        Column("changed_at", UtcDateTime),
        Column("day", Date),
        Column("local", DateTime),
        Column("raw", LargeBinary),
        Column("doc", JSON),
        Column("flag", Boolean),
        Column("code", Uuid),
        Column("small", SmallInteger),
    )


def add_notes() -> Table:
    """Put a table without a key on the metadata of the flows."""
    return Table("notes", metadata, Column("text", Text), Column("doc", JSON), Column("number", Integer))


@pytest.fixture
def gadgets() -> Iterator[Table]:
    """A database with rows in the tables of flows, and an effect."""
    discovery.flows()
    sink.empty()
    gadgets, notes = add_gadgets(), add_notes()
    create(database())
    with database().begin() as connection:
        upsert(connection, gadgets, ROWS)
        # Two of them are equal.
        for text in ("twice", "twice", None):
            connection.execute(insert(notes).values(text=text, number=1))
        write(connection, [effect("load-toys/toys", "http://127.0.0.1:9/", "first", {"a": 1}, "key")])
    yield gadgets
    for table in (gadgets, notes):
        metadata.remove(table)
    sink.empty()


def content() -> dict[str, list[str]]:
    """Return the rows of all tables, in any order."""
    known = [*metadata.sorted_tables, *tables.internal.sorted_tables]
    with database().connect() as connection:
        return {table.name: sorted(map(repr, connection.execute(select(table)))) for table in known}


def taken() -> dict[str, list[str]]:
    """Write the rows to the file, and put an empty database in the place of theirs; return what they were."""
    before = content()
    assert "rows of" in transfer.export()[0]
    assert content() == before, "the database is only read"
    sink.empty()
    return before


def carry() -> list[str]:
    """Read the rows of the file, and return what that says."""
    said: list[str] = []
    transfer.carry(said.append)
    return said


def lines() -> list[str]:
    """Return the rows of the file."""
    return transfer.ROWS.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def is_empty() -> bool:
    return all(not rows for name, rows in content().items() if name != "epochs")


def test_all_rows_arrive_unchanged(gadgets: Table) -> None:
    before = taken()
    said = carry()
    assert content() == before
    assert len(before["gadgets"]) == len(ROWS)
    assert len(before["notes"]) == 3
    assert {f"gadgets: {len(ROWS)} rows", "outbox_effects: 1 rows"} <= {line.partition(",")[0] for line in said}
    assert not transfer.FOLDER.exists()
    with database().connect() as connection:
        nothing = select(gadgets.c.id).where(gadgets.c.doc.is_(None))
        assert connection.scalars(nothing).all() == [1], "NULL is not the null of JSON"


def test_generated_numbers_go_on(gadgets: Table) -> None:
    taken()
    carry()
    with database().begin() as connection:
        write(connection, [effect("load-toys/toys", "http://127.0.0.1:9/", "second", {"a": 2}, "key")])
        numbers = connection.scalars(select(outbox.c.id).order_by(outbox.c.id)).all()
    assert len(numbers) == 2
    assert numbers[0] < numbers[1]


def test_carrying_twice_changes_nothing(gadgets: Table) -> None:
    """As after a kill between the commit and the removal of the file."""
    before = taken()
    kept = {path: path.read_bytes() for path in (transfer.ROWS, transfer.SUMMARY)}
    carry()
    transfer.FOLDER.mkdir()
    for path, text in kept.items():
        path.write_bytes(text)
    said = carry()
    assert "already" in said[0]
    assert content() == before
    assert not transfer.FOLDER.exists()


@pytest.mark.parametrize("fault", ["a value", "a lost row", "a row more", "NULL for an empty text"])
def test_row_that_arrives_changed_is_found(gadgets: Table, fault: str) -> None:
    taken()
    rows = lines()
    if fault == "a value":
        rows = [row.replace("Zoë", "Zoe") for row in rows]
    elif fault == "NULL for an empty text":
        rows = [row.replace('🦊 \u2028",""', '🦊 \u2028",null') for row in rows]
    elif fault == "a lost row":
        rows.remove(next(row for row in rows if "twice" in row))
    else:
        rows.append(next(row for row in rows if "twice" in row))
    assert rows != lines()
    transfer.ROWS.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    with pytest.raises(InputError, match=r"did not arrive unchanged: .*nothing was written"):
        carry()
    assert is_empty()
    assert transfer.SUMMARY.exists()


def test_tables_with_rows_are_refused(gadgets: Table) -> None:
    taken()
    create(database())
    with database().begin() as connection:
        upsert(connection, gadgets, ROWS[:1])
    before = content()
    with pytest.raises(InputError, match=r"table gadgets in .* has rows; set another database"):
        carry()
    assert content() == before


def test_table_that_no_flow_has_is_named(gadgets: Table) -> None:
    taken()
    metadata.remove(gadgets)
    with pytest.raises(InputError, match="no flow has the table gadgets any more"):
        carry()
    assert is_empty()
    add_gadgets()


def test_columns_that_differ_are_refused(gadgets: Table) -> None:
    taken()
    summary = json.loads(transfer.SUMMARY.read_text(encoding="utf-8"))
    summary["tables"]["gadgets"]["columns"].append("colour")
    transfer.SUMMARY.write_text(json.dumps(summary), encoding="utf-8")
    with pytest.raises(InputError, match="table gadgets has other columns"):
        carry()
    assert is_empty()


@pytest.mark.slow
def test_killed_in_the_middle(gadgets: Table, tmp_path: Path) -> None:
    """Nothing has arrived then, and the next attempt carries all."""
    before = taken()
    create(database())
    sink.release()
    script = tmp_path / "script.py"
    script.write_text(KILLED)
    # Tests before this one may have put tables of their own on the metadata.
    more = [name for name in sys.modules if name.startswith("tests.support.")]
    code, output = Child(script, *more).end()
    assert code == -signal.SIGKILL, output
    assert sink.is_sound()
    assert is_empty()
    carry()
    assert content() == before


KILLED = """
import importlib
import os
import signal
import sys

from tests.durable.test_transfer import add_gadgets, add_notes

add_gadgets()
add_notes()
for module in sys.argv[1:]:
    importlib.import_module(module)

from {{ cookiecutter.package_name }}.durable import transfer

transfer.carry(lambda line: os.kill(os.getpid(), signal.SIGKILL))
"""


def test_nothing_is_waiting(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [os.devnull, "carry"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "no rows are waiting" in capsys.readouterr().err


def test_value_that_has_no_common_form_is_named() -> None:
    with pytest.raises(TypeError, match="values of the type complex"):
        transfer._encoded(1j)


def test_equal_numbers_have_one_text() -> None:
    """As databases return them with other scales."""
    for one, other in (("1.50", "1.5"), ("0", "-0.00"), ("1E+2", "100")):
        assert transfer._encoded(Decimal(one)) == transfer._encoded(Decimal(other))
    long = Decimal("12345678901234567890123456789012345.6789012345")
    assert transfer._decoded(transfer._encoded(long)) == long
