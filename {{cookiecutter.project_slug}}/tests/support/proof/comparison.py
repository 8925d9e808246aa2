"""What a flow has left, and how it differs from what an undisturbed run leaves."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Row = tuple[list[str], dict[str, str]]
"""The key of a row, and its other columns, as text; the key is empty in a table without a primary key."""
Varying = Set[tuple[str, str]]
"""What is not compared: a column, `keys`, `text` or `bodies`, and of which table, file or requests."""
Columns = tuple[tuple[str, str], ...]
"""The columns of a row that are compared, each with its value."""
Item = tuple[str, Columns | str]
"""A row, line or request: its name, or nothing, and what it holds; of a request, the digest of its body."""
LONGEST = 120
"""The maximum length of an example in characters."""


class Request(NamedTuple):
    """What the receiver has got."""

    what: str
    """Method and URL."""
    key: str
    """The idempotency key, or nothing."""
    body: str
    """Its digest."""


@dataclass(frozen=True)
class Fault:
    """A difference; two of the same kind in the same place are equal."""

    what: str
    """`lost`, `doubled`, `differing`, or in words."""
    where: str
    """The table or file, or `requests`."""
    count: int = field(default=1, compare=False)
    """How many rows, lines or requests."""
    example: str = field(default="", compare=False)
    """The key of one of them, or what it holds; of one that differs, how."""


@dataclass(frozen=True)
class State:
    """What a flow has left."""

    tables: dict[str, list[Row]]
    files: dict[str, list[str]]
    """The lines, sorted, of rejected records and of files that the flow itself has written into the home."""
    requests: list[Request]
    """What the receiver has got."""
    numbered: Set[str] = frozenset()
    """Tables whose keys are left to the database: a kill leaves gaps in them."""


def varying(first: State, second: State) -> set[tuple[str, str]]:
    """Return what differs between two undisturbed runs, such as a time of loading, a log, or the bodies of requests.

    Such a file is not compared at all, and of such requests only their number. Keys that the database numbers are not
    compared either.
    """
    found = {("keys", f"table {name}") for name in first.numbered}
    for name, rows in first.tables.items():
        # Rows with one key are compared; where there is none, all values of a column are, in whatever order.
        sides: list[tuple[Mapping[str, object], Mapping[str, object]]]
        if rows and rows[0][0] and name not in first.numbered:
            others = {json.dumps(key): values for key, values in second.tables.get(name, [])}
            sides = [(values, others.get(json.dumps(key), values)) for key, values in rows]
        else:
            sides = [(_values(rows), _values(second.tables.get(name, [])))]
        found |= {
            (column, f"table {name}") for one, other in sides for column in one if one[column] != other.get(column)
        }
    both = first.files.keys() & second.files.keys()
    found |= {("text", _file(name)) for name in both if first.files[name] != second.files[name]}
    bodies = [Counter(_effects(state.requests, bodies=True)) for state in (first, second)]
    return found | ({("bodies", "requests")} if bodies[0] != bodies[1] else set())


def _values(rows: list[Row]) -> dict[str, Counter[str]]:
    """Return how often each column has each value."""
    found: dict[str, Counter[str]] = {}
    for _, values in rows:
        for column, value in values.items():
            found.setdefault(column, Counter())[value] += 1
    return found


def compare(expected: State, found: State, ignored: Varying = frozenset()) -> list[Fault]:
    """Return what differs: a fault for each kind and place.

    Args:
        expected: what an undisturbed run leaves.
        found: what is left here.
        ignored: what is not compared.
    """
    before, after = _places(expected, ignored), _places(found, ignored)
    nothing = Counter[Item]()
    return [
        fault
        for place in sorted({*before, *after})
        for fault in _differences(place, before.get(place, nothing), after.get(place, nothing))
    ]


def repeats(requests: list[Request]) -> int:
    """Return how many requests were sent again with the idempotency key of the first time, which is no fault."""
    keyed = [(request.what, request.key) for request in requests if request.key]
    return len(keyed) - len(set(keyed))


def _places(state: State, ignored: Varying) -> dict[str, Counter[Item]]:
    """Return what is compared, by table, file or `requests`."""
    found = {"requests": Counter(_effects(state.requests, ("bodies", "requests") not in ignored))}
    for name, lines in state.files.items():
        if ("text", place := _file(name)) not in ignored:
            found[place] = Counter(("", line) for line in lines)
    for name, rows in state.tables.items():
        place = f"table {name}"
        found[place] = Counter(
            (
                json.dumps(key) if key and ("keys", place) not in ignored else "",
                tuple((column, value) for column, value in values.items() if (column, place) not in ignored),
            )
            for key, values in rows
        )
    return found


def _effects(requests: list[Request], bodies: bool) -> Iterator[Item]:
    """Yield the effects of requests: those with one idempotency key are one, and each without a key is one."""
    keyed: dict[Any, set[str]] = {}
    for request in requests:
        if request.key:
            keyed.setdefault((request.what, request.key), set()).add(request.body)
        elif request.what.startswith(("PUT ", "DELETE ")):
            # Of equal ones, the second has no effect (RFC 9110, 9.2.2).
            keyed.setdefault((request.what, ("", request.body)), set()).add(request.body)
        else:
            yield f"{request.what} without Idempotency-Key", request.body if bodies else ""
    for (what, _), digests in keyed.items():
        yield what, " ".join(sorted(digests)) if bodies else ""


def _file(name: str) -> str:
    return f"file {name} of the home"


def _differences(where: str, expected: Counter[Item], found: Counter[Item]) -> Iterator[Fault]:
    """Compare how often things are there. Where one is lost and another one doubled with one name, they differ."""
    sides = {"lost": expected - found, "doubled": found - expected}
    names = {what: Counter(name for name, _ in side.elements()) for what, side in sides.items()}
    differing = names["lost"] & names["doubled"]
    for what, side in sides.items():
        if left := names[what] - differing:
            name = min(left)
            yield Fault(what, where, left.total(), _short(name or _shown(_first(side, name))))
    if differing:
        name = min(differing)
        how = _difference(where, *(_first(side, name) for side in sides.values()))
        yield Fault("differing", where, differing.total(), _short(f"{name}: {how}" if name else how))


def _first(side: Counter[Item], name: str) -> Columns | str:
    """Return what one of the items with a name holds."""
    return next(content for each, content in side if each == name)


def _difference(where: str, expected: Columns | str, found: Columns | str) -> str:
    """Say how two rows differ, or two lines or requests."""
    if isinstance(expected, tuple) and isinstance(found, tuple):
        before, after = dict(expected), dict(found)
        changed = [name for name in before if after.get(name) != before[name]]
        return ", ".join(f"{name} is {after.get(name)}, not {before[name]}" for name in changed)
    return "another body" if where == "requests" else f"{found} instead of {expected}"


def _shown(content: Columns | str) -> str:
    """Return a line as it is, and a row without a key by its columns."""
    return content if isinstance(content, str) else ", ".join(f"{name}={value}" for name, value in content)


def _short(example: str) -> str:
    return example if len(example) <= LONGEST else f"{example[: LONGEST - 1]}…"
