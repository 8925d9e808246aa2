"""The project's step against the same by hand, and others, in this process: `step.py NAME ITEMS FEW MANY`.

NAME is a database or `file`. On a database a step is effect and mark in one transaction, by hand the same two
statements on the driver; on `file` it is a mark after an empty block, by hand a line of the same length, written and
flushed. Items come in blocks, ours and the others' in turn. Prints, as JSON, the microseconds an item and, block by
block, their ratio to those by hand; then the same for two jobs of which FEW and MANY are done, in a database each.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from durable_flights.durable import checkpoints, claims
from durable_flights.durable.checkpoints import Checkpoint
from durable_flights.durable.settings import settings
from marks import fill, names

BLOCK = 100
"""Items that are timed together."""
HAND = "by hand"
Work = Callable[[int], None]
"""Does the items of a block from this number on."""
Item = Callable[[str, int], None]
"""Does an item: its name and its number."""

EFFECT = "INSERT INTO effects (item, n) VALUES (?, ?)"
MARK = "INSERT INTO steps (job, step, done_at) VALUES (?, ?, CURRENT_TIMESTAMP) ON CONFLICT DO NOTHING RETURNING step"


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
    """A connection of the driver, with what the project sets: to the same server, or to a file with its tables."""
    from durable_flights.durable.tables import internal, metadata
    from durable_flights.durable.upserts import database
    from sqlalchemy import create_engine

    match name:
        case "sqlite":
            import sqlite3

            file = settings.home / "by-hand.db"
            engine = create_engine(f"sqlite:///{file}")
            internal.create_all(engine)
            metadata.create_all(engine)
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


def sql_of(name: str) -> tuple[str, str]:
    """Effect and mark, as the driver of a database takes them."""
    effect, mark = (sql.replace("?", "%s") if name == "postgres" else sql for sql in (EFFECT, MARK))
    return effect, mark


def by_step(name: str, job: str) -> Item:
    """The project's step of an item."""
    checkpoint = Checkpoint(job)
    effect, _ = sql_of(name)

    def do(item: str, number: int) -> None:
        with checkpoint.step(item) as connection:
            connection.exec_driver_sql(effect, (f"{job} {item}", number))

    return do


def by_hand(name: str, job: str, raw: Any) -> Item:
    """The same two statements on the driver."""
    effect, mark = sql_of(name)
    begin = "BEGIN IMMEDIATE" if name == "sqlite" else "BEGIN"

    def do(item: str, number: int) -> None:
        raw.execute(begin)
        raw.execute(mark, (job, item)).fetchall()
        raw.execute(effect, (f"{job} {item}", number))
        raw.execute("COMMIT")

    return do


def make_tables() -> None:
    """Make the project's tables, and that of the effects."""
    from durable_flights.durable.tables import create, metadata
    from durable_flights.durable.upserts import database
    from sqlalchemy import Column, Integer, String, Table

    Table("effects", metadata, Column("item", String(100), primary_key=True), Column("n", Integer))
    create(database())


def in_database(name: str, raw: Any) -> tuple[Callable[[str], Work], dict[str, Work]]:
    """The project's steps of a job, and the other ways, in a database."""
    effect, mark = sql_of(name)
    begin = "BEGIN IMMEDIATE" if name == "sqlite" else "BEGIN"

    def block_of(do: Item) -> Work:
        def work(start: int) -> None:
            for number, item in enumerate(names(start, start + BLOCK), start):
                do(item, number)

        return work

    def steps(job: str) -> Work:
        return block_of(by_step(name, job))

    def together(start: int) -> None:
        raw.execute(begin)
        for number, item in enumerate(names(start, start + BLOCK), start):
            raw.execute(mark, ("together", item)).fetchall()
            raw.execute(effect, (f"together {item}", number))
        raw.execute("COMMIT")

    def claimed(start: int) -> None:
        with Checkpoint("claimed").step(f"block {start}") as connection:
            new = claims.claim(connection, "claimed", names(start, start + BLOCK))
            connection.exec_driver_sql(effect, [(f"claimed {item}", number) for number, item in enumerate(new, start)])

    engine = checkpoints.database()

    def on_engine(start: int) -> None:
        for number, item in enumerate(names(start, start + BLOCK), start):
            with engine.begin() as connection:
                connection.exec_driver_sql(mark, ("on the engine", item)).all()
                connection.exec_driver_sql(effect, (f"on the engine {item}", number))

    return steps, {
        HAND: block_of(by_hand(name, HAND, raw)),
        f"by hand, a commit each {BLOCK} items": together,
        f"claim() of {BLOCK} items in a step": claimed,
        "by hand, on SQLAlchemy's engine": on_engine,
    }


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
            "ratios": [a / b for a, b in zip(blocks[1:], floor, strict=True)],
        }
        for way, blocks in found.items()
    ]


def jobs(name: str, sizes: list[int]) -> Iterator[Callable[[], str]]:
    """For each number of steps that are done: what makes the project work on that job, and returns its name."""
    for size in sizes:
        job = f"job of {size}"
        if name == "file":
            fill(job, 0, size)
            yield lambda job=job: job
            continue
        engine = database_of(name, size)

        def turn(job: str = job, engine: Any = engine) -> str:
            checkpoints.database = lambda: engine
            return job

        fill(turn(), 0, size)
        yield turn


def database_of(name: str, size: int) -> Any:
    """Another database than that of the settings, with the same engine."""
    from durable_flights.durable.upserts import database, database_settings
    from pydantic import SecretStr
    from sqlalchemy import make_url

    if name == "postgres":
        with database().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f"CREATE DATABASE of_{size}")
        url = make_url(database_settings.database_url.get_secret_value()).set(database=f"of_{size}")
    else:
        url = make_url(f"{name}:///{settings.home / f'of-{size}.db'}")
    database_settings.__dict__["database_url"] = SecretStr(url.render_as_string(hide_password=False))
    return database.make()


def grow(name: str, steps: Callable[[str], Work], sizes: list[int], items: int) -> dict[str, Any]:
    """Microseconds an item for jobs of which so many steps are done, in turn, and the last to the first."""
    found: list[list[float]] = []
    turns = list(jobs(name, sizes))
    for number in range(items // BLOCK + 1):
        row = [0.0] * len(sizes)
        for place in range(len(sizes)) if number % 2 else reversed(range(len(sizes))):
            row[place] = timed(steps(turns[place]()), sizes[place] + number * BLOCK)
        found.append(row)
    few, many = map(statistics.median, zip(*found[1:], strict=True))
    return {"few": few, "many": many, "ratios": [row[1] / row[0] for row in found[1:]]}


def measure(name: str, items: int, sizes: list[int]) -> dict[str, Any]:
    if name == "file":
        steps, works = journal()
        found = compare({"step()": steps("ours"), **works}, items)
        return {"ways": found, "growth": grow(name, steps, sizes, items)}
    make_tables()
    with driver_connection(name) as raw:
        steps, works = in_database(name, raw)
        found = compare({"step()": steps("ours"), **works}, items)
    return {"ways": found, "growth": grow(name, steps, sizes, items)}


def main(name: str, items: int, *sizes: int) -> None:
    print(json.dumps(measure(name, items, list(sizes))))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
