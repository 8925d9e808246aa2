"""Fields of records that come as text, read strictly: what is not plainly a value of the type is refused.

Pydantic alone takes `1_707` for a number, and a bare number for a timestamp of 1970.
"""

import re
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator


def _plain(pattern: str, what: str) -> BeforeValidator:
    def check(value: Any) -> Any:
        if isinstance(value, str) and not re.fullmatch(pattern, value):
            raise ValueError(f"not {what}")
        return value

    return BeforeValidator(check)


def _timestamp(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not re.match(r"\d{4}-\d\d-\d\d[T ]", value):
        raise ValueError("not a timestamp, such as 2026-01-31T10:00:00+01:00")
    return datetime.fromisoformat(value)


PlainInt = Annotated[int, _plain(r"[+-]?[0-9]+", "a whole number, of digits alone")]
"""A whole number. Bound it by what its column holds: `Annotated[PlainInt, Field(ge=1, lt=2**31)]`."""
PlainDecimal = Annotated[Decimal, _plain(r"[+-]?[0-9]+(\.[0-9]+)?", "a decimal number, such as 12.50")]
"""A decimal number, such as money."""
Timestamp = Annotated[AwareDatetime, BeforeValidator(_timestamp)]
"""A date and a time in ISO 8601, with its time zone."""
