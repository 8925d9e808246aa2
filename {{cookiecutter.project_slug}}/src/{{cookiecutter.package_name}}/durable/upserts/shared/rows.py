"""Preparation of rows for an upsert: validate every value, and remove duplicate keys.

A value that the database would return changed is an error here, because drivers disagree: some raise, some round, some
drop a time zone or store NULL.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from itertools import islice
from operator import itemgetter, lt, ne
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CHAR,
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Date,
    DateTime,
    Dialect,
    Enum,
    Float,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
    and_,
    false,
    or_,
)
from sqlalchemy.types import TypeEngine

from .masking import masked
from .tables import UtcDateTime

Columns = list[Sequence[Any]]
"""The values of some rows, column by column."""
Check = Callable[[Column[Any], TypeEngine[Any], Sequence[Any]], str | None]
"""Returns why a database cannot store these values of one column (without None), or None if it can."""


@dataclass(frozen=True)
class UpsertReport:
    """The outcome of an upsert: the four counts add up to the rows that it was given."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    """Rows that the table already had, with the same values or, with `newer`, a later version; nothing was written."""
    duplicates: int = 0
    """Rows whose key came again in the same batch, where another of them counts: the newest, or else the last."""

    @property
    def rows(self) -> int:
        """The number of rows, without duplicates."""
        return self.inserted + self.updated + self.unchanged

    def counts(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)

    def __add__(self, other: "UpsertReport") -> "UpsertReport":
        return UpsertReport(
            self.inserted + other.inserted,
            self.updated + other.updated,
            self.unchanged + other.unchanged,
            self.duplicates + other.duplicates,
        )


@dataclass(frozen=True)
class Shape:
    """The specification of an upsert: its table, its key, and the columns of its rows."""

    table: Table
    names: tuple[str, ...]
    key: tuple[str, ...]
    newer: str | None
    kinds: tuple[TypeEngine[Any], ...]
    """The columns' types in the database."""

    @property
    def others(self) -> list[str]:
        """The columns outside the key."""
        return [name for name in self.names if name not in self.key]

    def changed(
        self,
        new: Any,
        comparable: Callable[[ColumnElement[Any]], ColumnElement[Any]] = lambda column: column,
    ) -> ColumnElement[bool]:
        """Build the condition for an update: the values differ and, with `newer`, the arriving row is not older.

        Args:
            new: the arriving row's columns.
            comparable: turns a column into an expression that the database can compare.
        """
        old = self.table.c
        pairs = ((comparable(old[name]), comparable(new[name])) for name in self.others)
        differs = or_(false(), *(before.is_distinct_from(after) for before, after in pairs))
        if self.newer is None:
            return differs
        return and_(differs, or_(old[self.newer].is_(None), new[self.newer] >= old[self.newer]))

    def on_conflict(self, new: Any, where: ColumnElement[bool]) -> Any:
        """Add the conflict clause to an insert: a row with an existing key is updated if the condition holds."""
        if not self.others:
            return new.on_conflict_do_nothing(index_elements=self.key)
        changes = {name: new.excluded[name] for name in self.others}
        for column in self.table.columns:
            # SQLAlchemy applies `onupdate` to UPDATE only.
            if column.onupdate is not None and column.name not in self.names:
                changes[column.name] = column.onupdate.arg  # type: ignore[attr-defined]
        return new.on_conflict_do_update(index_elements=self.key, set_=changes, where=where)


def batches(
    table: Table,
    rows: Iterable[Mapping[str, Any]],
    key: Iterable[str] | None,
    newer: str | None,
    *,
    dialect: Dialect,
    check: Check,
    size: int,
    ordered: bool = True,
) -> Iterator[tuple[Shape, Columns, int]]:
    """Read rows in batches of `size`; yield each batch validated and without duplicate keys, sorted if `ordered`.

    With each batch comes the number of its duplicates.

    Raises:
        ValueError: see `upsert`.
    """
    iterator = iter(rows)
    shape: Shape | None = None
    first = 1
    while batch := list(islice(iterator, size)):
        if shape is None:
            shape = _shape(table, tuple(batch[0]), key, newer, dialect)
        columns = _columns(shape, batch, first)
        for place, name in enumerate(shape.names):
            converted = partial(_converted, shape, table.c[name], shape.kinds[place], dialect, check)
            columns[place] = _checked(f"column {name} of table {table.name}", columns[place], first, converted)
        columns = _one_a_key(shape, columns, ordered)
        yield shape, columns, len(batch) - len(columns[0])
        first += len(batch)


def _shape(
    table: Table, names: tuple[str, ...], key: Iterable[str] | None, newer: str | None, dialect: Dialect
) -> Shape:
    if table.name == "excluded" or any(column.key != column.name for column in table.columns):
        raise ValueError(f"table {table.name} is called `excluded`, or has a column with another key than its name")
    if key is None:
        key = [column.name for column in table.primary_key]
    key = (key,) if isinstance(key, str) else tuple(map(str, key))
    if not key:
        raise ValueError(f"table {table.name} has no primary key to tell rows apart; give a unique one as key=")
    constraints = [
        part
        for part in table.constraints
        if isinstance(part, PrimaryKeyConstraint | UniqueConstraint) and not part.deferrable
    ]
    indexes = [index for index in table.indexes if index.unique and _whole(index)]
    if set(key) not in ({column.name for column in part.columns} for part in (*constraints, *indexes)):
        raise ValueError(
            f"table {table.name} has no unique constraint on {', '.join(key)}, by which rows are told apart"
        )
    if unknown := sorted({*map(str, names)} - {*table.columns.keys()}):
        raise ValueError(f"table {table.name} has no column {', '.join(unknown)}")
    if computed := [name for name in names if table.c[name].computed is not None or _is_always(table.c[name].identity)]:
        raise ValueError(f"rows for table {table.name} have the column {computed[0]}, which the database computes")
    if missing := sorted({*key, *([newer] if newer else [])} - {*names}):
        hint = "; leave newer= out where rows have no version" if newer in missing else ""
        raise ValueError(f"rows for table {table.name} lack the column {', '.join(missing)}{hint}")
    for column in table.columns:
        if column.name not in names and (lack := _lack(column)):
            raise ValueError(f"rows for table {table.name} lack the column {column.name}, {lack}")
    if newer in key:
        raise ValueError(f"newer={newer!r} is a column of the key: it never differs; leave it out")
    kinds = (table.c[name].type for name in names)
    stored = (kind.load_dialect_impl(dialect) if isinstance(kind, TypeDecorator) else kind for kind in kinds)
    return Shape(table, names, key, newer, tuple(stored))


def _whole(index: Index) -> bool:
    """Tell whether an index covers all rows, and columns only."""
    partial = any(option.endswith("_where") for option in index.dialect_kwargs)
    return not partial and all(isinstance(part, Column) for part in index.expressions)


def _is_always(identity: Identity | None) -> bool:
    return identity is not None and bool(identity.always)


def _lack(column: Column[Any]) -> str | None:
    """Return why a new row needs a value for the column, or None if the database provides one."""
    if column.default is not None:
        return "whose default is Python's; an upsert knows those of the database (server_default)"
    if column.onupdate is not None and not column.onupdate.is_clause_element:
        return "whose onupdate is Python's; an upsert knows those of SQL, such as func.now()"
    given = column.nullable or column.server_default is not None or column is column.table.autoincrement_column
    return None if given else "which is NOT NULL and has no default"


def _columns(shape: Shape, batch: Sequence[Mapping[str, Any]], first: int) -> Columns:
    try:
        # As many columns as the first row, and all of its columns: they are the same.
        if {*map(len, batch)} == {len(shape.names)}:
            return [list(map(itemgetter(name), batch)) for name in shape.names]
    except KeyError:
        pass
    number, row = next((number, row) for number, row in enumerate(batch, first) if row.keys() != {*shape.names})
    raise ValueError(
        f"row {number} has the columns {', '.join(map(str, row))}; the first one has {', '.join(shape.names)}"
    )


def _checked(
    column: str, values: Sequence[Any], first: int, converted: Callable[[Sequence[Any]], Sequence[Any]]
) -> Sequence[Any]:
    """Convert the values of a column; an error names the row of the first wrong value, but not the value."""
    try:
        return converted(values)
    except ValueError:
        for number, value in enumerate(values, first):
            try:
                converted([value])
            except ValueError as error:
                raise ValueError(f"row {number}, {column}: {error}") from None
        raise


def _converted(
    shape: Shape, column: Column[Any], kind: TypeEngine[Any], dialect: Dialect, check: Check, values: Sequence[Any]
) -> Sequence[Any]:
    """Convert values to the column's type, after a check that the database can store and return them unchanged."""
    if isinstance(column.type, TypeDecorator) and not isinstance(column.type, UtcDateTime):
        convert = column.type.process_bind_param
        try:
            values = [convert(value, dialect) for value in values]
        except (ArithmeticError, AttributeError, NotImplementedError, TypeError, ValueError) as error:
            unknown = f"the type {column.type!r} is not one that an upsert knows"
            raise ValueError(masked(str(error)) or unknown) from None
    present: Sequence[Any] = values
    if None in values:
        if column.name in shape.key:
            raise ValueError("has no value, and is part of the key")
        if column.name == shape.newer:
            raise ValueError("has no value, and so is neither newer nor older")
        if not column.nullable:
            raise ValueError("has no value, and the column is NOT NULL")
        present = [value for value in values if value is not None]
    try:
        reason = _reason(kind, present, column.name in (*shape.key, shape.newer)) or check(column, kind, present)
        if not reason and isinstance(kind, DateTime) and kind.timezone:
            # Compare instants: Python ignores `fold`, and so merges the two passes of the hour that repeats in autumn.
            values = [None if value is None else value.astimezone(UTC) for value in values]
    except ArithmeticError as error:
        reason = str(error)
    if reason:
        raise ValueError(reason)
    return values


def _reason(kind: TypeEngine[Any], values: Sequence[Any], compared: bool) -> str | None:
    """Return why a database may not store these values in a column of this type, or None."""
    rule = next((rule for known, rule in _RULES.items() if isinstance(kind, known)), None)
    if rule is None or isinstance(kind, CHAR | Enum) or not getattr(kind, "as_uuid", True):
        return f"the type {kind!r} is not one that an upsert knows: {', '.join(known.__name__ for known in _RULES)}"
    if not all(map(rule.takes, {*map(type, values)})):
        other = next(value for value in values if not rule.takes(type(value)))
        wanted = " or ".join(taken.__name__ for taken in rule.types)
        return f"{type(other).__name__} where {wanted} is wanted"
    if compared and isinstance(kind, JSON):
        return "JSON cannot tell rows apart, nor which one is newer"
    if compared and any(map(ne, values, values)):
        return "NaN is not equal to itself"
    return rule.reason(kind, values)


@dataclass(frozen=True)
class _Rule:
    types: tuple[type, ...]
    reason: Callable[[Any, Sequence[Any]], str | None] = lambda *_: None

    def takes(self, found: type) -> bool:
        # A datetime is also a date, but would lose its time of day; a bool is also an int.
        other = (datetime if self.types == (date,) else (), bool if int in self.types else ())
        return issubclass(found, self.types) and not issubclass(found, other)


def _text(kind: String, values: Sequence[str]) -> str | None:
    text = "".join(values)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "holds half of a character (a surrogate)"
    if kind.length is not None and (longest := max(map(len, values), default=0)) > kind.length:
        return f"has {longest} characters; {kind.length} fit"
    return None


def _moment(kind: DateTime, values: Sequence[datetime]) -> str | None:
    if (precision := getattr(kind, "precision", None)) not in (None, 6):
        return f"a timestamp is kept to {precision} digits of a second; declare the column without a precision"
    if {*map(type, values)} - {datetime}:
        for value in values:
            # Timestamps of pandas have nanoseconds.
            nanoseconds: int = getattr(value, "nanosecond", 0)
            if value != value or nanoseconds:
                return "no timestamp, or has nanoseconds, which are not kept"
    if {value.tzinfo is None for value in values} <= {not kind.timezone}:
        return None
    return "has no time zone" if kind.timezone else "has a time zone, which is not kept"


def _decimal(kind: Numeric[Any], values: Sequence[Decimal | int]) -> str | None:
    if not kind.asdecimal:
        return "a Numeric without asdecimal gives back floating-point numbers"
    for value in map(Decimal, values):
        if not value.is_finite():
            return f"{value} is not a number"
        if kind.precision is not None:
            in_units(value, kind.precision, kind.scale or 0)
    return None


def in_units(value: Decimal, precision: int, scale: int) -> int:
    """Convert a decimal number to an integer in its column's smallest unit, 10 ** -scale.

    Raises:
        ValueError: the number has more digits than the column.
    """
    if (value.is_finite() and -scale <= value.adjusted() <= precision) or not value:
        # Decimal arithmetic would round to the digits of its context.
        numerator, denominator = value.as_integer_ratio()
        units, rest = divmod(numerator * int(10**scale), denominator)
        if not rest and abs(units) < 10**precision:
            return units
    raise ValueError(f"does not fit NUMERIC({precision}, {scale})")


def _double(_: Float[Any], values: Sequence[float]) -> str | None:
    if {*map(type, values)} <= {float}:
        return None
    rounded = any(isinstance(value, int) and value != float(value) for value in values)
    return "an integer that is not exact as a floating-point number" if rounded else None


def _json(_: JSON, values: Sequence[Any]) -> str | None:
    for value in values:
        try:
            text = json_text(value)
            text.encode()
            if json.loads(text) == value:
                continue
        except (TypeError, ValueError, RecursionError) as error:
            return f"is not JSON: {error}"
        return "would come back from JSON as another value"
    return None


json_text = partial(json.dumps, allow_nan=False, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
"""Encode a value as canonical JSON text, so that databases that store text detect changes."""

_RULES: dict[type[TypeEngine[Any]], _Rule] = {
    Boolean: _Rule((bool,)),
    Integer: _Rule((int,)),
    Float: _Rule((float, int), _double),
    Numeric: _Rule((Decimal, int), _decimal),
    String: _Rule((str,), _text),
    LargeBinary: _Rule((bytes,)),
    Date: _Rule((date,)),
    DateTime: _Rule((datetime,), _moment),
    Uuid: _Rule((UUID,)),
    JSON: _Rule((object,), _json),
}


def outside(values: Collection[int], kind: TypeEngine[Any] | None = None) -> str | None:
    """Return why integers do not fit a column of this type, 64 bits by default, or None."""
    bits = 16 if isinstance(kind, SmallInteger) else 64 if kind is None or isinstance(kind, BigInteger) else 32
    for value in (min(values, default=0), max(values, default=0)):
        if not -(1 << bits - 1) <= value < 1 << bits - 1:
            return f"does not fit an integer of {bits} bits"
    return None


def _one_a_key(shape: Shape, columns: Columns, ordered: bool) -> Columns:
    """Remove duplicate keys: keep the newest row of a key, or the last of several; sort by key if `ordered`."""
    keyed = [columns[shape.names.index(name)] for name in shape.key]
    keys = keyed[0] if len(keyed) == 1 else list(zip(*keyed, strict=True))
    if all(map(lt, keys, islice(keys, 1, None))) or (not ordered and len({*keys}) == len(keys)):
        return columns
    if shape.newer is None:
        last = dict(zip(keys, range(len(keys)), strict=True))
    else:
        versions = columns[shape.names.index(shape.newer)]
        last = {}
        for place, name in enumerate(keys):
            if name not in last or versions[last[name]] <= versions[place]:
                last[name] = place
    order = [last[name] for name in sorted(last)]
    return [[column[place] for place in order] for column in columns]
