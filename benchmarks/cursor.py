"""Steps of a load with a cursor against steps without, in this process: `cursor.py LOADS STEPS ROWS`.

A load has so many steps, each of which upserts so many rows, and the last of which moves the mark in its transaction.
Loads with and without take turns. Prints, as JSON, the microseconds a step of each, and the ratio load by load.
"""

import json
import statistics
import sys
import time
from functools import partial

from durable_flights.durable import Cursor, context, metadata, upsert, upserts
from durable_flights.durable.steps import Step
from sqlalchemy import Column, Integer, Table

numbers = Table(
    "numbers",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("value", Integer, nullable=False),
)


def load(name: str, steps: int, rows: int, cursor: Cursor | None) -> float:
    """Do the steps of a load; return the microseconds a step."""
    began = time.perf_counter()
    for number in range(steps):
        step = Step("load-some/some", f"{name}-{number}", "", "")
        if cursor and number == steps - 1:
            step.finish = partial(cursor.close, number)
        value = hash((name, number)) % 2**31
        with step as connection:
            upsert(connection, numbers, [{"id": row, "value": value} for row in range(rows)])
    return 1e6 * (time.perf_counter() - began) / steps


def main() -> None:
    loads, steps, rows = map(int, sys.argv[1:])
    upserts.prepare()
    context.FLOW.set("load-some")
    found = []
    for number in range(loads):
        turn = [("without", None), ("with", Cursor.read("some"))]
        some = turn if number % 2 else turn[::-1]
        found.append({name: load(f"{name}-{number}", steps, rows, cursor) for name, cursor in some})
    found = found[1:]
    medians = {name: statistics.median(times[name] for times in found) for name in ("without", "with")}
    print(json.dumps({**medians, "ratios": [times["with"] / times["without"] for times in found]}))


if __name__ == "__main__":
    main()
