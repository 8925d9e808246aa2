"""Strict types for the fields of records: each accepts only plain values of its type.

Pydantic alone accepts `1_707` and `true` as numbers, and a bare number as a timestamp or as a date in 1970.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema


# Unions of types need it hashable: by identity.
@dataclass(frozen=True, eq=False)
class _Plain:
    """Accept text that matches a pattern, and values of the type itself. Runs in pydantic's core, for speed."""

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
"""Restrict an integer to plain digits. Put it last in a type, so that pydantic's fast core checks the bounds."""
PlainInt = Annotated[int, DIGITS]
"""A whole number. To add bounds: `Annotated[int, Field(ge=1, le=12), DIGITS]`."""
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
        # More digits than microseconds have would be dropped.
        "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:]+([.,][0-9]{1,6}0*)?([^0-9:.,].*)?$",
        "a timestamp, such as 2026-01-31T10:00:00+01:00, to the microsecond at most",
        (core_schema.datetime_schema(strict=True),),
    ),
]
"""A date and a time in ISO 8601, with its time zone."""
BLANK = BeforeValidator(lambda value: None if value == "" else value)
"""Reads a blank field as None: `Annotated[PlainDecimal | None, BLANK] = None`."""
