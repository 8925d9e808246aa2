"""Steps of one job in many processes at a time, against the same by hand, in turn: `contend.py PROCESSES ITEMS ROUNDS`.

A step is effect and mark in one transaction on PostgreSQL, by hand the same two statements on the driver. Each process
has one connection. Their keys alternate, so that all write to the same pages of the indexes. Prints, as JSON, the
microseconds an item of all together and, round by round, their ratio.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from typing import Any

import psycopg
from durable_flights.durable.checkpoints import Checkpoint
from durable_flights.durable.tables import create, metadata
from durable_flights.durable.upserts import database
from marks import names
from sqlalchemy import Column, Integer, String, Table
from step import EFFECT, MARK

FORKS = get_context("fork")
Table("effects", metadata, Column("item", String(100), primary_key=True), Column("n", Integer))
URL = database().url.set(drivername="postgresql").render_as_string(hide_password=False)
effect, mark = (sql.replace("?", "%s") for sql in (EFFECT, MARK))


def ours(job: str) -> Callable[[str], object]:
    """Connect; return what does an item."""
    checkpoint = Checkpoint(job)
    checkpoint.done()

    def do(item: str) -> None:
        with checkpoint.step(item) as connection:
            connection.exec_driver_sql(effect, (f"{job} {item}", 1))  # type: ignore[union-attr]

    return do


def hand(job: str) -> Callable[[str], object]:
    """Connect; return what does an item."""
    connection: Any = psycopg.connect(URL, autocommit=True)

    def do(item: str) -> None:
        connection.execute("BEGIN")
        connection.execute(mark, (job, item)).fetchall()
        connection.execute(effect, (f"{job} {item}", 1))
        connection.execute("COMMIT")

    return do


def work(connect: Callable[[str], Callable[[str], object]], job: str, items: list[str], begin: Any) -> None:
    do = connect(job)
    begin.wait()
    for item in items:
        do(item)


def timed(connect: Callable[[str], Callable[[str], object]], job: str, processes: int, items: int) -> float:
    """Microseconds an item, from when all have connected to the end of the last."""
    begin = FORKS.Barrier(processes + 1)
    keys = names(0, items)
    doing = [
        FORKS.Process(target=work, args=(connect, job, keys[first::processes], begin)) for first in range(processes)
    ]
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
    create(database())
    # A fork must not share its parent's connection.
    database().dispose()
    found = []
    for number in range(rounds):
        row = {}
        for connect in (ours, hand) if number % 2 else (hand, ours):
            row[connect.__name__] = timed(connect, f"{connect.__name__} {processes} {number}", processes, items)
        found.append(row)
    medians = {name: statistics.median(row[name] for row in found) for name in ("ours", "hand")}
    print(json.dumps({**medians, "ratios": [row["ours"] / row["hand"] for row in found]}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
