"""The project's step against the same by hand, and others, in this process: `step.py NAME ITEMS ROUNDS FEW MANY`.

NAME is a database, or `file`. On a database a step is an effect and its mark in one transaction, by hand the same two
statements on the driver; on `file` it is a mark after an empty block, by hand a line of the same length, written and
flushed. Items come in blocks, ours and the others' in turn. Prints, as JSON, the microseconds an item and, block by
block, their ratio to those by hand; then, for each round, the microseconds when FEW steps are done and when MANY are.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from durable_flights import checkpoints
from durable_flights.checkpoints import Checkpoint
from durable_flights.settings import settings
from marks import fill, names

BLOCK = 100
"""Items that are timed together."""
HAND = "by hand"
Work = Callable[[int], None]
"""Does the items of a block from this number on."""

EFFECT = "INSERT INTO effects (item, n) VALUES (?, ?)"
MARK = "INSERT INTO steps (job, step) VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING step"


def journal() -> tuple[Callable[[str], Work], dict[str, Work]]:
    """The project's steps of a job, and the other ways, on disk."""
    settings.home.mkdir(parents=True, exist_ok=True)
    raw = os.open(settings.home / "raw", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    flush = getattr(os, "fdatasync", os.fsync)
    thousand = dict.fromkeys(names(0, 1000), "2013-01-01T00:00:00Z")

    def steps(job: str) -> Work:
        checkpoint = Checkpoint(job)

        def work(start: int) -> None:
            for name in names(start, start + BLOCK):
                with checkpoint.step(name):
                    pass

        return work

    def hand(start: int) -> None:
        for name in names(start, start + BLOCK):
            os.write(raw, b'01234567 ["done","%b","2013-01-01T00:00:00Z"]\n' % name.encode())
            flush(raw)

    def rewritten(start: int) -> None:
        for _ in range(BLOCK):
            new = settings.home / "whole.part"
            with new.open("w") as file:
                json.dump(thousand, file)
                file.flush()
                os.fsync(file.fileno())
            new.replace(settings.home / "whole.json")

    return steps, {HAND: hand, "a JSON file of 1,000 marks, written anew": rewritten}


@contextmanager
def driver_connection(name: str) -> Iterator[Any]:
    """A connection of the driver alone, with what the project sets: to the same server, or to a file with its tables."""
    from durable_flights.tables import metadata
    from durable_flights.upsert import database
    from sqlalchemy import create_engine

    match name:
        case "sqlite":
            import sqlite3

            file = settings.home / "by-hand.db"
            metadata.create_all(create_engine(f"sqlite:///{file}"))
            connection: Any = sqlite3.connect(file, isolation_level=None)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
        case "postgres":
            import psycopg

            # Its own BEGIN and COMMIT, as in the other databases.
            url = database().url.set(drivername="postgresql").render_as_string(hide_password=False)
            connection = psycopg.connect(url, autocommit=True)
        case _:
            # The one connection of this process, of which the project's steps make use in turn.
            lent = database().raw_connection()
            connection = lent.driver_connection
            lent.close()
    yield connection
    if name != "duckdb":
        connection.close()


def in_database(name: str, raw: Any) -> tuple[Callable[[str], Work], dict[str, Work]]:
    """The project's steps of a job, and the other ways, in a database."""
    effect, mark = (sql.replace("?", "%s") if name == "postgres" else sql for sql in (EFFECT, MARK))
    begin = "BEGIN IMMEDIATE" if name == "sqlite" else "BEGIN"

    def steps(job: str) -> Work:
        checkpoint = Checkpoint(job)

        def work(start: int) -> None:
            for number, item in enumerate(names(start, start + BLOCK), start):
                with checkpoint.step(item) as connection:
                    connection.exec_driver_sql(effect, (f"{job} {item}", number))

        return work

    def hand(start: int) -> None:
        for number, item in enumerate(names(start, start + BLOCK), start):
            raw.execute(begin)
            raw.execute(mark, ("by hand", item)).fetchall()
            raw.execute(effect, (f"by hand {item}", number))
            raw.execute("COMMIT")

    def together(start: int) -> None:
        raw.execute(begin)
        for number, item in enumerate(names(start, start + BLOCK), start):
            raw.execute(mark, ("together", item)).fetchall()
            raw.execute(effect, (f"together {item}", number))
        raw.execute("COMMIT")

    return steps, {HAND: hand, f"by hand, a commit each {BLOCK} items": together}


def timed(work: Work, start: int) -> float:
    """Microseconds an item."""
    begin = time.perf_counter()
    work(start)
    return 1e6 * (time.perf_counter() - begin) / BLOCK


def compare(works: dict[str, Work], items: int) -> list[dict[str, Any]]:
    """Time blocks of all ways, in turn."""
    found: dict[str, list[float]] = {way: [] for way in works}
    ways = list(works)
    for number in range(items // BLOCK + 1):
        turn = number % len(ways)
        for way in ways[turn:] + ways[:turn]:
            found[way].append(timed(works[way], number * BLOCK))
    # The first block fills caches.
    floor = found[HAND][1:]
    return [
        {
            "name": way,
            "items": len(blocks[1:]) * BLOCK,
            "microseconds": statistics.median(blocks[1:]),
            "ratio": statistics.median(a / b for a, b in zip(blocks[1:], floor, strict=True)),
        }
        for way, blocks in found.items()
    ]


def grow(steps: Callable[[str], Work], rounds: int, sizes: list[int], items: int) -> list[list[float]]:
    """Microseconds an item when few steps of a job are done and when many are, for each round."""
    found = []
    for number in range(rounds):
        job, done, row = f"job {number}", 0, []
        for size in sizes:
            fill(job, done, size)
            work = steps(job)
            work(size)
            blocks = [timed(work, size + BLOCK * block) for block in range(1, items // BLOCK + 1)]
            row.append(statistics.median(blocks))
            done = size + BLOCK * (items // BLOCK + 1)
        found.append(row)
        reset(job)
    return found


def reset(job: str) -> None:
    Checkpoint(job).reset()
    if hasattr(checkpoints, "steps"):
        from durable_flights.upsert import database
        from marks import rest

        with database().begin() as connection:
            connection.exec_driver_sql("DELETE FROM effects")
        rest(database())


def measure(name: str, items: int, rounds: int, sizes: list[int]) -> dict[str, Any]:
    if name == "file":
        steps, works = journal()
        found = compare({"step()": steps("ours"), **works}, items)
        return {"ways": found, "growth": grow(steps, rounds, sizes, items)}
    from durable_flights.tables import create, metadata
    from durable_flights.upsert import database
    from sqlalchemy import Column, Integer, String, Table

    Table("effects", metadata, Column("item", String(100), primary_key=True), Column("n", Integer))
    create(database())
    with driver_connection(name) as raw:
        steps, works = in_database(name, raw)
        found = compare({"step()": steps("ours"), **works}, items)
    return {"ways": found, "growth": grow(steps, rounds, sizes, items)}


def main(name: str, items: int, rounds: int, *sizes: int) -> None:
    print(json.dumps(measure(name, items, rounds, list(sizes))))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
