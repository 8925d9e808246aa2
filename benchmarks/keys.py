"""Cache keys of plain inputs and of a large file, against a plain hash of the same; a hit, against Prefect's INPUTS."""

import hashlib
import importlib
import json
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shared import PACKAGE, Columns, bake, in_turn, project_and_server, quiet, run, show, verdict

INPUTS = (21, 2.0)
FILE = (5, 1.2)
HITS = (11, 1.3)
"""Rounds, and the budget."""
MEMORY = 50.0
"""MiB by which the key of a file may raise the peak of its process."""
CALLS = 50
"""Hits that are timed together."""

RAN: list[str] = []
"""One entry a call that was not a hit. Not a variable of the function around the task, which is part of its key."""


def inputs() -> Columns:
    """The key of a megabyte of rows, as JSON would have it."""
    from prefect import task

    digest: Callable[..., str] = importlib.import_module(f"{PACKAGE}.durable.identity").digest
    row = {"carrier": "UA", "origin": "EWR", "tailnum": None, "dep_delay": 2.5, "hour": 5, "ok": True, "legs": [1, "a"]}
    parameters = {"rows": [{**row, "flight": number} for number in range(8200)]}

    @task(version="1")
    def work(rows: list[object]) -> None: ...

    def plain() -> str:
        return hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()

    size = len(json.dumps(parameters))
    if not 0.95e6 < size < 1.05e6:
        raise SystemExit(f"the inputs have {size} bytes")
    return in_turn(lambda: digest(work, parameters), plain, INPUTS[0])


def hits() -> Columns:
    """Calls of a task whose result is stored: with the project's key, and with Prefect's INPUTS as its cache policy."""
    from prefect import flow
    from prefect.cache_policies import INPUTS as PREFECT_INPUTS

    durable_task: Any = importlib.import_module(f"{PACKAGE}.durable").durable_task

    def work(day: str, columns: list[str]) -> int:
        RAN.append(day)
        return len(columns)

    ours = durable_task(version="1")(work)
    theirs = durable_task(version="1", cache_policy=PREFECT_INPUTS)(work)

    def calls(task: Any) -> None:
        for number in range(CALLS):
            task(f"2013-01-{number}", ["carrier", "flight", "time_hour"])

    @flow
    def timed() -> Columns:
        return in_turn(lambda: calls(ours), lambda: calls(theirs), HITS[0])

    found: Columns = timed()
    if len(RAN) != 2 * CALLS:
        raise SystemExit(f"{len(RAN)} tasks were run, and not {2 * CALLS}")
    return found


def file(folder: Path) -> tuple[Columns, float]:
    """The key of a file of one GiB, and by how many MiB it raises the peak of its process."""
    with quiet():
        os.environ["PYTHONPATH"] = str(bake(folder / "files", cache_key="file_content") / "src")
    large = folder / "large"
    with large.open("wb") as target:
        for _ in range(1024):
            target.write(os.urandom(2**20))
    rounds = [run("key.py", folder / "home", large, number % 2) for number in range(FILE[0])]
    rows = [(1000 * found["key"], 1000 * found["plain"], found["key"] / found["plain"]) for found in rounds]
    mine, other, ratios = zip(*rows, strict=True)
    return (mine, other, ratios), max(found["rise"] for found in rounds)


def main() -> None:
    with project_and_server() as folder:
        found = {"1 MB of inputs": inputs(), f"{CALLS} hits": hits()}
        found["1 GiB file"], rise = file(folder)
    rows = [(name, *map(statistics.median, columns)) for name, columns in found.items()]
    show(("milliseconds", "key", "against", "ratio"), rows)
    (_, _, key), (_, _, hit), (_, _, large) = found.values()
    verdict("the key of 1 MB of inputs, in times of json.dumps and sha256", key, INPUTS[1])
    verdict("a hit, in times of one with Prefect's INPUTS", hit, HITS[1])
    verdict("the key of a file of 1 GiB, in times of its plain hash", large, FILE[1])
    verdict("MiB that the key of a file adds to the peak of memory", rise, MEMORY)


if __name__ == "__main__":
    main()
