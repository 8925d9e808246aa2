"""One text for one value: equal in every process, on every run, whatever the order of a dict or a set."""

import dataclasses
import json
from collections.abc import Mapping, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

from pydantic import BaseModel


def canonical(value: Any, name: str = "value") -> str:
    """Return `value` as JSON with sorted keys.

    Fields of a dataclass that do not compare are left out: they are not part of what the object is.

    Args:
        value: plain data, dates, paths, enums, dataclasses, pydantic models, and containers of them.
        name: what the value is called in an error.

    Raises:
        TypeError: some part of the value has no stable form; the message names the path to it.
    """
    return json.dumps(_stable(value, name), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _stable(value: Any, path: str) -> Any:
    # Each type that JSON does not have is tagged, so that "1", 1 and Decimal("1") stay apart.
    match value:
        case Enum():
            return [_name(value), value.name]
        case None | bool() | int() | str():
            return value
        case float():
            return {"float": repr(value)}
        case Mapping():
            if unstable := [key for key in value if not isinstance(key, str)]:
                raise TypeError(f"{path}: the key {unstable[0]!r} is not a string")
            return {"dict": {key: _stable(item, f"{path}[{key!r}]") for key, item in value.items()}}
        case list() | tuple():
            return [_stable(item, f"{path}[{index}]") for index, item in enumerate(value)]
        case Set():
            return {"set": sorted(canonical(item, path) for item in value)}
        case datetime() | date() | time():
            return {_name(value): value.isoformat()}
        case timedelta() | Decimal() | UUID():
            return {_name(value): str(value)}
        case PurePath():
            return {"path": str(value)}
        case bytes():
            return {"bytes": value.hex()}
        case BaseModel():
            return {_name(value): _stable(value.model_dump(), path)}
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = [item.name for item in dataclasses.fields(value) if item.compare]
            return {_name(value): {name: _stable(getattr(value, name), f"{path}.{name}") for name in fields}}
    raise TypeError(f"{path}: {_name(value)} has no stable form; pass plain data, a dataclass or a pydantic model")


def _name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
