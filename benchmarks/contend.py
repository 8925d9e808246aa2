"""Steps of one job in many processes at a time, against the same by hand, in turn: `contend.py PROCESSES ITEMS ROUNDS`.

A step is effect and mark in one transaction on PostgreSQL, by hand the same two statements on the driver. Each process
has one connection. Their keys alternate, so that all write to the same pages of the indexes. Prints, as JSON, the
microseconds an item of all together, round by round.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from typing import Any

from durable_flights.durable.checkpoints import Checkpoint
from durable_flights.durable.upserts import database
from marks import names
from step import by_hand, by_step, driver_connection, make_tables

FORKS = get_context("fork")
Way = Callable[[str, Sequence[str], Any], None]
"""Takes a job, items and a barrier: connects, waits there, and does the items."""


def ours(job: str, items: Sequence[str], begin: Any) -> None:
    Checkpoint(job).done()
    do = by_step("postgres", job)
    begin.wait()
    for number, item in enumerate(items):
        do(item, number)


def hand(job: str, items: Sequence[str], begin: Any) -> None:
    with driver_connection("postgres") as raw:
        do = by_hand("postgres", job, raw)
        begin.wait()
        for number, item in enumerate(items):
            do(item, number)


def timed(way: Way, job: str, processes: int, items: int) -> float:
    """Microseconds an item, from when all have connected to the end of the last."""
    begin = FORKS.Barrier(processes + 1)
    keys = names(0, items)
    doing = [FORKS.Process(target=way, args=(job, keys[first::processes], begin)) for first in range(processes)]
    for process in doing:
        process.start()
    begin.wait()
    start = time.perf_counter()
    for process in doing:
        process.join()
    seconds = time.perf_counter() - start
    if any(process.exitcode for process in doing):
        sys.exit("a process has failed")
    return 1e6 * seconds / items


def main(processes: int, items: int, rounds: int) -> None:
    make_tables()
    # A fork must not share its parent's connection.
    database().dispose()
    found = []
    for number in range(rounds):
        row = {}
        for way in (ours, hand) if number % 2 else (hand, ours):
            row[way.__name__] = timed(way, f"{way.__name__} {processes} {number}", processes, items)
        found.append(row)
    print(json.dumps({name: [row[name] for row in found] for name in ("ours", "hand")}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
