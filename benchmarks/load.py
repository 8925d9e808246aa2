"""All 336,776 flights into SQLite: the project's flow against a plain script with the same checks, in turn."""

import shutil
import sqlite3
import sys
import time
from pathlib import Path

from shared import all_flights, options, project_and_server, run, show_rounds, verdict

BUDGET = 1.8
AGAIN_BUDGET = 0.05
DAYS = 30
"""Of flights in a larger chunk."""


def rows(database: Path) -> list[tuple[int, ...]]:
    """Enough of a table of flights to tell whether two are the same."""
    query = (
        "SELECT origin, carrier, count(*), sum(dep_time), sum(air_time), count(tailnum), min(time_hour) FROM flights"
    )
    with sqlite3.connect(database) as connection:
        return connection.execute(f"{query} GROUP BY 1, 2 ORDER BY 1, 2").fetchall()


def main() -> None:
    rounds = options(rounds=5).rounds
    found = []
    with project_and_server() as folder:
        source = all_flights(folder)
        for number in range(1, rounds + 1):
            home, beside = folder / "round", folder / "plain.db"
            begin = time.perf_counter()
            plain = run("plain.py", home, source, beside)["seconds"]
            middle = time.perf_counter()
            flow, again = run("flow.py", home, source, 2)["seconds"]
            end = time.perf_counter()
            if [row[:-1] for row in rows(beside)] != [row[:-1] for row in rows(home / "database.db")]:
                raise SystemExit("the two tables differ")
            shutil.rmtree(home)
            beside.unlink()
            (large,) = run("flow.py", home, source, 1, DAYS)["seconds"]
            shutil.rmtree(home)
            whole = (middle - begin, end - middle - again - 10)
            found.append((plain, flow, flow / plain, again, again / flow, large, large / plain, *whole))
            print(f"round {number} of {rounds} is done", file=sys.stderr)
    header = ("seconds", "plain", "flow", "ratio", "again", "again/flow", f"flow, {DAYS} days a chunk", "ratio")
    columns = show_rounds((*header, "plain, whole process", "flow, whole process"), found)
    verdict("the flow, in times of the plain script", columns[2], BUDGET)
    verdict(f"the same with {DAYS} days a chunk", columns[6], BUDGET)
    verdict("the flow when all is done, in times of the first", columns[4], AGAIN_BUDGET)


if __name__ == "__main__":
    main()
