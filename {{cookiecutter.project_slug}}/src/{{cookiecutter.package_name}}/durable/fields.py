"""Fields of records, read strictly: what is not plainly a value of the type is refused.

Pydantic alone takes `1_707` and `true` for numbers, and a bare number for a timestamp or a date of 1970.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AwareDatetime, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema


# Hashed by identity, as unions of types need it.
@dataclass(frozen=True, eq=False)
class _Plain:
    """Takes text of a pattern, and values of the type itself. Not in Python, for it is asked for each field."""

    pattern: str
    what: str
    own: tuple[CoreSchema, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        plain = core_schema.union_schema(
            [core_schema.str_schema(strict=True, pattern=f"^{self.pattern}"), *self.own],
            mode="left_to_right",
            custom_error_type="plain",
            custom_error_message=f"not {self.what}",
        )
        return core_schema.chain_schema([plain, handler(source)])


_INTEGER = core_schema.int_schema(strict=True)
DIGITS = _Plain("[+-]?[0-9]+$", "a whole number, of digits alone", (_INTEGER,))
"""What makes an integer a plain one. As the last part of a type it leaves bounds to pydantic's fast core."""
PlainInt = Annotated[int, DIGITS]
"""A whole number. With bounds of its own: `Annotated[int, Field(ge=1, le=12), DIGITS]`."""
PlainDecimal = Annotated[
    Decimal,
    _Plain(
        r"[+-]?[0-9]+(\.[0-9]+)?$",
        "a decimal number, such as 12.50",
        (_INTEGER, core_schema.float_schema(strict=True), core_schema.is_instance_schema(Decimal)),
    ),
]
"""A decimal number, such as money."""
PlainDate = Annotated[
    date, _Plain("[0-9]{4}-[0-9]{2}-[0-9]{2}$", "a date, such as 2026-01-31", (core_schema.date_schema(strict=True),))
]
"""A date in ISO 8601."""
Timestamp = Annotated[
    AwareDatetime,
    _Plain(
        # No digits after those of microseconds, which would be dropped.
        "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:]+([.,][0-9]{1,6}0*)?([^0-9:.,].*)?$",
        "a timestamp, such as 2026-01-31T10:00:00+01:00, to the microsecond at most",
        (core_schema.datetime_schema(strict=True),),
    ),
]
"""A date and a time in ISO 8601, with its time zone."""
