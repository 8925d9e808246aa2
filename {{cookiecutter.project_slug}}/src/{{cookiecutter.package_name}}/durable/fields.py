"""Fields of records, read strictly: what is not plainly a value of the type is refused.

Pydantic alone takes `1_707` and `true` for numbers, and a bare number for a timestamp or a date of 1970.
"""

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator


def _digits(value: Any) -> Any:
    if isinstance(value, str):
        # The first is true of nearly all, and takes a third of the time.
        if not (value.isdecimal() and value.isascii()) and not re.fullmatch(r"[+-]?[0-9]+", value):
            raise ValueError("not a whole number, of digits alone")
    elif type(value) is not int:
        raise ValueError("not a whole number")
    return value


def _decimal(value: Any) -> Any:
    if isinstance(value, bool) or (isinstance(value, str) and not re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?", value)):
        raise ValueError("not a decimal number, such as 12.50")
    return value


def _date(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        return date.fromisoformat(value)
    if type(value) is not date:
        raise ValueError("not a date, such as 2026-01-31")
    return value


def _timestamp(value: Any) -> Any:
    if isinstance(value, str) and re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]", value):
        return datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        raise ValueError("not a timestamp, such as 2026-01-31T10:00:00+01:00")
    return value


DIGITS = BeforeValidator(_digits)
"""What makes an integer a plain one. As the last part of a type it leaves bounds to pydantic's fast core."""
PlainInt = Annotated[int, DIGITS]
"""A whole number. With bounds of its own: `Annotated[int, Field(ge=1, le=12), DIGITS]`."""
PlainDecimal = Annotated[Decimal, BeforeValidator(_decimal)]
"""A decimal number, such as money."""
PlainDate = Annotated[date, BeforeValidator(_date)]
"""A date in ISO 8601."""
Timestamp = Annotated[AwareDatetime, BeforeValidator(_timestamp)]
"""A date and a time in ISO 8601, with its time zone."""
