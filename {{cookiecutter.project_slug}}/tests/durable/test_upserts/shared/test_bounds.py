"""Bounds of records: each value that a column cannot keep is refused before an upsert sees it, with its field."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError
from sqlalchemy import BigInteger, Column, Float, Integer, MetaData, SmallInteger, String, Table
from typing_extensions import TypedDict

from {{ cookiecutter.package_name }}.durable import ExactNumeric, UtcDateTime, bounded

things = Table(
    "things",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("small", SmallInteger),
    Column("big", BigInteger),
    Column("name", String(5)),
    Column("price", ExactNumeric(5, 2)),
    Column("weight", Float),
    Column("at", UtcDateTime),
)
GOOD: dict[str, Any] = {
    "id": -(2**31),
    "small": 2**15 - 1,
    "big": 2**63 - 1,
    "name": "seven"[:5],
    "price": Decimal("999.99"),
    "weight": 1.5,
    "at": datetime(2026, 1, 31, tzinfo=UTC),
}


class Dict(TypedDict):
    id: int | None
    small: int | None
    big: int | None
    name: str | None
    price: Decimal | None
    weight: float | None
    at: datetime | None


class Model(BaseModel):
    id: int | None
    small: int | None
    big: int | None
    name: str | None
    price: Decimal | None
    weight: float | None
    at: datetime | None


KINDS: list[TypeAdapter[Any]] = [bounded(Dict, things), bounded(Model, things)]


@pytest.mark.parametrize("kind", KINDS, ids=["dict", "model"])
def test_what_fits_is_unchanged(kind: TypeAdapter[Any]) -> None:
    for row in (GOOD, dict.fromkeys(GOOD) | {"id": 1}):
        found = kind.validate_python(row)
        assert (found if isinstance(found, dict) else found.model_dump()) == row


@pytest.mark.parametrize("kind", KINDS, ids=["dict", "model"])
@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("id", 2**31, "2147483648 does not fit Integer()"),
        ("id", -(2**31) - 1, "does not fit Integer()"),
        ("id", None, "has no value, and the column is NOT NULL"),
        ("small", 2**15, "does not fit SmallInteger()"),
        ("big", 2**63, "does not fit BigInteger()"),
        ("name", "sevens", "has 6 characters; 5 fit"),
        ("name", "a\0b", "holds a zero byte"),
        ("name", "\ud800", "surrogate"),
        ("price", Decimal("1000"), "does not fit NUMERIC(5, 2)"),
        ("price", Decimal("0.001"), "does not fit NUMERIC(5, 2)"),
        ("weight", float("nan"), "not a number"),
        ("at", datetime(2026, 1, 31), "has no time zone"),
        ("at", datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=2))), "out of range in UTC"),
    ],
)
def test_what_does_not_fit_is_named(kind: TypeAdapter[Any], name: str, value: object, reason: str) -> None:
    with pytest.raises((ValidationError, ValueError)) as caught:
        kind.validate_python(GOOD | {name: value})
    assert name in str(caught.value)
    assert reason in str(caught.value)


def test_record_with_a_field_that_is_no_column_is_refused() -> None:
    class Other(Dict):
        nonsense: int

    with pytest.raises(ValueError, match="Other has nonsense, and the table things has no such column"):
        bounded(Other, things)
