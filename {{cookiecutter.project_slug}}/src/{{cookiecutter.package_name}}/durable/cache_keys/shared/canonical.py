"""Canonical text of values: equal in every process and Python version, whatever the order of a dict or a set.

Different values have different texts, even if they look alike: 1, 1.0, True, "1" and Decimal(1). Lists and tuples are
equal, as in JSON. Plain JSON is written as it is, by fast C code; any other value as a dict with one entry, whose key
is its kind.
"""

import dataclasses
import hashlib
import json
import sys
from collections.abc import Callable
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import chain
from math import isfinite
from pathlib import Path, PurePath
from types import NoneType
from typing import Any
from uuid import UUID

from pydantic import BaseModel

DEPTH = 100
"""The maximum nesting depth: the limit of json depends on the Python version and on the caller."""
INT64 = 2**63 - 1
"""Larger integers are written in hexadecimal: Python limits the number of decimal digits."""

_ALWAYS_PLAIN = {NoneType, bool, str}
_SCALARS = _ALWAYS_PLAIN | {int, float}
_CONTAINERS = (dict, list, tuple)
_PLAIN = _SCALARS.union(_CONTAINERS)
_BASES: dict[type, Callable[[Any], Any]] = {
    # int(value) and so on would call methods that the value's class may override.
    int: int.__int__,
    float: float.__float__,
    str: str.__str__,
    bytes: bytes.__bytes__,
    bytearray: bytes,
    tuple: tuple,
    list: list,
    dict: dict,
    set: set,
    frozenset: frozenset,
}
_ATOMS = (date, time, timedelta, Decimal, UUID)
# With ASCII only, "\U0001f600" and its two surrogates would have the same text.
_text = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode

Read = Callable[[Path, str], Any]


def canonical(value: Any, name: str = "value", read: Read | None = None) -> bytes:
    """Return `value` as JSON with sorted keys.

    Args:
        value: plain data, dates, paths, enums, dataclasses, pydantic models, arrays of NumPy, tables of pandas, and
            containers of them. Fields of a dataclass that do not compare are omitted, as they are not part of its
            identity. An enum's member is written as its name.
        name: the value's name in errors.
        read: returns plain data for a path, given the path and its name for errors. Default: the path's text.

    Raises:
        TypeError: a part of the value has no stable form; the message names the path to it.
    """
    # Text may contain lone surrogates, as file names do that are not UTF-8.
    return _text(_Writer(read).node(value, (name,))).encode("utf-8", "surrogatepass")


def _is_plain(value: Any, depth: int) -> bool:
    """Tell whether plain JSON identifies the value. Works level by level, so that C code visits the parts."""
    level: list[Any] = [value]
    for _ in range(depth):
        kinds = set(map(type, level))
        if not kinds <= _PLAIN:
            return False
        parts: dict[type, list[Any]] = {
            kind: [part for part in level if type(part) is kind] for kind in kinds - _ALWAYS_PLAIN
        }
        if not all(map(isfinite, parts.get(float, ()))):
            return False
        if int in parts and not -INT64 <= min(parts[int]) <= max(parts[int]) <= INT64:
            return False
        if kinds <= _SCALARS:
            return True
        # Each object once, however often it appears: a circular one would fill the memory.
        dicts, lists, tuples = ({id(part): part for part in parts.get(kind, ())}.values() for kind in _CONTAINERS)
        if not set(map(type, chain.from_iterable(dicts))) <= {str}:
            return False
        level = list(chain.from_iterable(chain(map(dict.values, dicts), lists, tuples)))
    return False


class _Writer:
    def __init__(self, read: Read | None) -> None:
        self.read = read

    def node(self, value: Any, path: tuple[str, ...]) -> Any:
        """Return a scalar, a list of nodes, or a dict with one entry: `{"json": value}` or `{kind: content}`."""
        kind = type(value)
        if _is_plain(value, DEPTH + 1 - len(path)):
            return value if kind in _SCALARS else {"json": value}
        if len(path) > DEPTH:
            raise _error(path, f"is circular, or nested more than {DEPTH} deep")
        if kind in (list, tuple):
            return self.nodes(value, path)
        if kind is dict:
            return self.mapping(value, path)
        if kind in (set, frozenset):
            return {"set": sorted(self.nodes(value, path), key=_text)}
        if kind is int:
            return {"int": hex(value)}
        if kind is float:
            return {"float": repr(value)}
        if kind is bytes:
            return {"bytes": _sha256(value)}
        if isinstance(value, PurePath):
            if self.read and isinstance(value, Path):
                return {"read": self.read(value, _name(path))}
            return {"path": str(value)}
        return {_kind(value): self.content(value, path)}

    def nodes(self, values: Any, path: tuple[str, ...]) -> list[Any]:
        return [self.node(item, (*path, f"[{index}]")) for index, item in enumerate(values)]

    def mapping(self, value: dict[Any, Any], path: tuple[str, ...]) -> dict[str, Any]:
        items = {key: self.node(item, (*path, f"[{key!r}]")) for key, item in value.items()}
        if set(map(type, items)) <= {str}:
            return {"dict": items}
        pairs = [[self.node(key, (*path, f"[{key!r}]")), item] for key, item in items.items()]
        return {"pairs": sorted(pairs, key=_text)}

    def fields(self, value: Any, names: list[str], path: tuple[str, ...]) -> dict[str, Any]:
        return {name: self.node(getattr(value, name), (*path, f".{name}")) for name in names}

    def content(self, value: Any, path: tuple[str, ...]) -> Any:
        """Return what distinguishes a value from others of its class."""
        kind = type(value)
        if isinstance(value, Enum):
            # An unnamed combination of flags is identified by its number.
            return value.name if value.name is not None else [str(value.value)]
        # Values of pandas have attributes, but no more content than their text.
        if isinstance(value, _ATOMS) and getattr(value, "__dict__", None) and not kind.__module__.startswith("pandas"):
            raise _error(path, f"{_kind(value)} has attributes of its own, and no stable form with them")
        if isinstance(value, date | time):
            zone = getattr(getattr(value, "tzinfo", None), "key", None)
            return value.isoformat() + (f"[{zone}]" if zone else "")
        if isinstance(value, timedelta | Decimal | UUID):
            return str(value)
        if isinstance(value, BaseModel):
            # A model may override its iteration.
            fields = self.fields(value, [*kind.model_fields, *(value.model_extra or ())], path)
            private = value.__pydantic_private__
            return [fields, self.node(private, (*path, ".private"))] if private else fields
        # A subclass that is not a dataclass itself may have attributes besides its fields.
        if "__dataclass_fields__" in vars(kind):
            names = {field.name for field in dataclasses.fields(value)}
            if more := getattr(value, "__dict__", {}).keys() - names:
                raise _error(path, f"{min(more)} is no field of {_kind(value)}, and has no stable form")
            return self.fields(value, [field.name for field in dataclasses.fields(value) if field.compare], path)
        # Not imported here: if such a value exists, so does its module.
        numpy, pandas = map(sys.modules.get, ("numpy", "pandas"))
        if numpy and (kind is numpy.ndarray or isinstance(value, numpy.generic)):
            return self.array(numpy.asarray(value), path)
        if pandas and (kind in (pandas.DataFrame, pandas.Series) or isinstance(value, pandas.Index)):
            return self.table(pandas, value, path)
        if pandas and value is pandas.NA:
            return None
        for base, plain in _BASES.items():
            if isinstance(value, base) and not getattr(value, "__dict__", None):
                return self.node(plain(value), path)
        raise _error(path, f"{_kind(value)} has no stable form; pass plain data, a dataclass or a pydantic model")

    def array(self, array: Any, path: tuple[str, ...]) -> list[Any]:
        if array.dtype.names:
            raise _error(path, "an array of records has no stable form; pass its columns")
        values = self.nodes(array.flat, path) if array.dtype.hasobject else _sha256(array.tobytes())
        return [array.dtype.str, list(array.shape), values]

    def table(self, pandas: Any, value: Any, path: tuple[str, ...]) -> list[Any]:
        """Return the names, the index and the columns; for an index, its names and its values."""
        if isinstance(value, pandas.DataFrame):
            columns = [self.column(pandas, value.iloc[:, place], path) for place in range(value.shape[1])]
            return [self.node(value.columns, path), self.node(value.index, path), columns]
        names = list(value.names) if isinstance(value, pandas.Index) else [value.name, value.index]
        return [self.nodes(names, path), self.column(pandas, value, path)]

    def column(self, pandas: Any, column: Any, path: tuple[str, ...]) -> list[Any]:
        dtype = column.dtype
        if isinstance(dtype, pandas.CategoricalDtype):
            parts = [self.node(dtype.categories, path), dtype.ordered, self.array(column.array.codes, path)]
            return ["category", *parts]
        if getattr(dtype, "kind", "O") != "O" and not pandas.api.types.is_extension_array_dtype(dtype):
            return self.array(column.to_numpy(), path)
        return [str(dtype), self.node(column.astype(object).tolist(), path)]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _kind(value: Any) -> str:
    return f"{type(value).__module__}:{type(value).__qualname__}"


def _name(path: tuple[str, ...]) -> str:
    name = "".join(path)
    return name if len(name) <= 80 else f"{name[:80]}…"


def _error(path: tuple[str, ...], reason: str) -> TypeError:
    return TypeError(f"{_name(path)}: {reason}")
