"""What a flow has left, and how it differs from what an undisturbed run leaves."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any

Row = tuple[list[str], dict[str, str]]
"""The key of a row, and its other columns, as text; the key is empty in a table without a primary key."""
Request = tuple[str, str]
"""Method and URL, and the idempotency key, or nothing."""


@dataclass(frozen=True)
class Fault:
    """A difference."""

    what: str
    """`lost`, `doubled`, `differing`, or in words."""
    where: str
    """The table, file or receiver: how many, and one of them."""


@dataclass(frozen=True)
class State:
    """What a flow has left."""

    tables: dict[str, list[Row]]
    files: dict[str, list[str]]
    """The lines, sorted, of rejected records and of files that the flow itself has written into the home."""
    requests: list[Request]
    """What the receiver has got."""


def varying_columns(first: State, second: State) -> set[tuple[str, str]]:
    """Return the tables and columns that differ between two undisturbed runs, such as a time of loading."""
    found = set()
    for name, rows in first.tables.items():
        # Rows with one key are compared; where there is none, all values of a column are, in whatever order.
        sides: list[tuple[Mapping[str, object], Mapping[str, object]]]
        if rows and rows[0][0]:
            others = {json.dumps(key): values for key, values in second.tables.get(name, [])}
            sides = [(values, others.get(json.dumps(key), values)) for key, values in rows]
        else:
            sides = [(_values(rows), _values(second.tables.get(name, [])))]
        found |= {(name, column) for one, other in sides for column in one if one[column] != other.get(column)}
    return found


def _values(rows: list[Row]) -> dict[str, Counter[str]]:
    """Return how often each column has each value."""
    found: dict[str, Counter[str]] = {}
    for _, values in rows:
        for column, value in values.items():
            found.setdefault(column, Counter())[value] += 1
    return found


def compare(expected: State, found: State, ignored: Set[tuple[str, str]] = frozenset()) -> list[Fault]:
    """Return what differs: a fault for each kind and place.

    Args:
        expected: what an undisturbed run leaves.
        found: what is left here.
        ignored: tables and columns that are not compared.
    """
    faults = []
    for name in sorted({*expected.tables, *found.tables}):
        kept = {column for table, column in ignored if table == name}
        before, after = (_rows(state.tables.get(name, []), kept) for state in (expected, found))
        faults += _differences(f"table {name}", before, after, _key)
    for name in sorted({*expected.files, *found.files}):
        lines = Counter(expected.files.get(name, [])), Counter(found.files.get(name, []))
        faults += _differences(name, lines[0], lines[1], lambda line: "")
    requests = Counter(_effects(expected.requests)), Counter(_effects(found.requests))
    return faults + _differences("requests", requests[0], requests[1], str)


def repeats(requests: list[Request]) -> int:
    """Return how many requests were sent again with the idempotency key of the first time, which is no fault."""
    keyed = [request for request in requests if request[1]]
    return len(keyed) - len(set(keyed))


def _rows(rows: list[Row], ignored: set[str]) -> Counter[tuple[str, str]]:
    return Counter(
        (json.dumps(key), json.dumps({name: value for name, value in values.items() if name not in ignored}))
        for key, values in rows
    )


def _effects(requests: list[Request]) -> list[str]:
    """Return the effects of requests: those with one idempotency key are one, and each without a key is one."""
    keyed = {request for request in requests if request[1]}
    return [what for what, _ in keyed] + [f"{what} without Idempotency-Key" for what, key in requests if not key]


def _key(row: tuple[str, str]) -> str:
    """Return the key of a row, to be shown; empty if there is none."""
    return row[0] if row[0] != "[]" else ""


def _differences(where: str, expected: Counter[Any], found: Counter[Any], shown: Callable[[Any], str]) -> list[Fault]:
    """Compare how often things are there. Where one is lost and another one doubled with one name, they differ."""
    lost, more = expected - found, found - expected
    differing = {name for name in map(shown, lost) if name} & set(map(shown, more))
    faults = []
    for what, side in (("lost", lost), ("doubled", more)):
        if names := [shown(each) for each in side.elements() if shown(each) not in differing]:
            faults.append(Fault(what, f"{where}: {len(names)}" + (f", such as {names[0]}" if names[0] else "")))
    if differing:
        faults.append(Fault("differing", f"{where}: {len(differing)}, such as {min(differing)}"))
    return faults
