"""Validation of records against the columns of a table, before a chunk is written.

Without it, one record that the database refuses fails its whole chunk, in every run.
"""

import sys
from collections.abc import Callable, Iterator
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, get_type_hints

from pydantic import AfterValidator, TypeAdapter
from sqlalchemy import BigInteger, Column, DateTime, Float, Integer, Numeric, SmallInteger, String, Table, TypeDecorator
from sqlalchemy.types import TypeEngine

from .rows import in_units

Check = Callable[[Any], str | None]
"""Returns why a column cannot store a value (never None), or None if it can."""


def bounded(record: type[Any], table: Table) -> TypeAdapter[Any]:
    """Return a validator of records that also rejects what the table's columns cannot store.

    It checks the range of integers, the length of texts and decimals, the time zone of timestamps, and NOT NULL.

    Args:
        record: a pydantic model or a `TypedDict`, whose fields are columns of the table.
        table: the table for the records.

    Raises:
        ValueError: a field of the record is not a column of the table.

    Example:
        ORDER = bounded(Order, orders)
        row = ORDER.validate_python({"id": "1", "name": "first"}).model_dump()
    """
    names = get_type_hints(record)
    if unknown := sorted(names.keys() - table.columns.keys()):
        raise ValueError(f"{record.__name__} has {', '.join(unknown)}, and the table {table.name} has no such column")
    required = [name for name in names if not table.c[name].nullable]
    kinds = {name: _stored(table.c[name]) for name in names}
    # Most values are numbers and texts: comparing them inline saves a call each.
    ranges = [(name, *_range(kind)) for name, kind in kinds.items() if isinstance(kind, Integer)]
    texts = [(name, kind.length or sys.maxsize) for name, kind in kinds.items() if isinstance(kind, String)]
    others = [(name, check) for name, kind in kinds.items() if (check := _check(kind))]

    def within(row: Any) -> Any:
        values = row if isinstance(row, dict) else vars(row)
        faults = [f"{name}: has no value, and the column is NOT NULL" for name in required if values[name] is None]
        for name, low, high in ranges:
            if (value := values[name]) is not None and not low <= value < high:
                faults.append(f"{name}: {value} does not fit {table.c[name].type!r}")
        for name, length in texts:
            if (text := values[name]) is not None and not (len(text) <= length and text.isascii() and "\0" not in text):
                faults += [f"{name}: {reason}" for reason in _text(text, length)]
        for name, check in others:
            if (value := values[name]) is not None and (reason := check(value)):
                faults.append(f"{name}: {reason}")
        if faults:
            raise ValueError("; ".join(faults))
        return row

    kind: Any = Annotated[record, AfterValidator(within)]
    return TypeAdapter(kind)


def _range(kind: Integer) -> tuple[int, int]:
    bits = 16 if isinstance(kind, SmallInteger) else 64 if isinstance(kind, BigInteger) else 32
    return -(1 << bits - 1), 1 << bits - 1


def _check(kind: TypeEngine[Any]) -> Check | None:
    match kind:
        case Float():
            return _float
        case Numeric(precision=int(precision), scale=scale):
            return partial(_units, precision=precision, scale=scale or 0)
        case DateTime(timezone=zone):
            return partial(_timestamp, zone=zone)
    return None


def _stored(column: Column[Any]) -> Any:
    return column.type.impl_instance if isinstance(column.type, TypeDecorator) else column.type


def _float(value: float) -> str | None:
    return "not a number" if value != value else None


def _units(value: Decimal | int, precision: int, scale: int) -> str | None:
    try:
        in_units(Decimal(value), precision, scale)
    except (ArithmeticError, ValueError) as error:
        return f"{value} {error}"
    return None


def _text(value: str, length: int) -> Iterator[str]:
    if len(value) > length:
        yield f"has {len(value)} characters; {length} fit"
    if "\0" in value:
        yield "holds a zero byte"
    try:
        value.encode()
    except UnicodeEncodeError:
        yield "holds half of a character (a surrogate)"


def _timestamp(value: datetime, zone: bool) -> str | None:
    if (value.tzinfo is None) == zone:
        return "has no time zone" if zone else "has a time zone, which the column does not keep"
    try:
        if zone and not MINYEAR < value.year < MAXYEAR:
            value.astimezone(UTC)
    except (OverflowError, ValueError):
        return "is out of range in UTC"
    return None
