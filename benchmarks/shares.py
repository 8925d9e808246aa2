"""Where the time goes: shares of the samples that py-spy takes of the flow, and of upserts.

Of the flow, whose threads take turns, samples are of the thread that holds the interpreter's lock. Of an upsert, which
has one thread, they are of everything, waiting for the database included.
"""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from shared import HERE, PREFIX, all_flights, options, project_and_server, project_on, run, show, temporary_home

RATE = 200
"""Samples a second."""
IMPORTS = "", r"<frozen importlib\._bootstrap>"
Parts = Sequence[tuple[str, str]]
"""What the table names, and what a frame on the stack looks like then. The first that fits counts; "" is left out."""
FLOW: Parts = (
    IMPORTS,
    ("looking for the chunks", r"_scan \(\S*/flights/source\.py"),
    ("bounds of the columns", r"within \(\S*/durable/bounds\.py"),
    ("reading and checking records", r"check \(\S*/flights/source\.py"),
    ("the upsert", r"upsert \(\S*/durable/upserts\.py"),
    ("the step: checkpoint, transaction", r"\S*/durable/(steps|checkpoints)\.py"),
    ("Prefect: events", r"\(prefect/events/|\(websockets/"),
    ("Prefect: results", r"\(prefect/(results|serializers|filesystems)"),
    ("Prefect: its client", r"\(prefect/client/|\(httpx/|\(httpcore/"),
    ("Prefect: tasks, states and the rest", r"\(prefect/"),
)
UPSERT: Parts = (
    IMPORTS,
    ("", r"\A(\S+ \(upsert\.py|\Z)"),
    ("", r"DefaultDialect\.(connect|__init__)|create_engine"),
    ("statements", r"do_execute"),
    ("commit", r"do_commit"),
    ("rows into columns", r"_columns \(\S*/durable/rows\.py"),
    ("checking values", r"_checked \(\S*/durable/rows\.py"),
    ("duplicate keys, order", r"_one_a_key \(\S*/durable/rows\.py"),
    ("encoding for the driver", r"_write \(\S*/durable/upserts\.py"),
)
REST = "the rest"


def sampled(home: Path, how: str, script: str, *arguments: object) -> Iterator[tuple[list[str], int]]:
    """Run a script of this folder under py-spy; yield its stacks, from the inside, and how often each was seen."""
    samples = home.with_suffix(".samples")
    recorder = [str(Path(sys.executable).with_name("py-spy")), "record", how, "--rate", str(RATE), "--format", "raw"]
    command = [*recorder, "--output", str(samples), "--", sys.executable, str(HERE / script), *map(str, arguments)]
    subprocess.run(command, env=os.environ | {f"{PREFIX}HOME": str(home)}, capture_output=True, check=True)
    for line in samples.read_text(encoding="utf-8").splitlines():
        stack, _, count = line.rpartition(" ")
        yield stack.split(";")[::-1], int(count)


def shares(samples: Iterator[tuple[list[str], int]], parts: Parts) -> dict[str, int]:
    """Return the percentage of each part."""
    found: Counter[str] = Counter()
    for stack, count in samples:
        text = "\n".join(stack)
        found[next((name for name, frame in parts if re.search(frame, text, re.MULTILINE)), REST)] += count
    del found[""]
    return {name: round(100 * found[name] / found.total()) for name in dict.fromkeys([*dict(parts), REST]) if name}


def main() -> None:
    chosen = options(rows=1_000_000)
    with project_and_server() as folder:
        found = shares(sampled(folder / "flow", "--gil", "flow.py", all_flights(folder), 1), FLOW)
    show(("the flow, all flights", "%"), sorted(found.items(), key=lambda share: -share[1]))
    print()
    columns = {}
    with temporary_home() as folder:
        for name in chosen.only or ("sqlite", "postgres", "duckdb"):
            with project_on(folder, name) as work:
                run("upsert.py", work / "home", "fill", name, chosen.rows)
                samples = sampled(work / "home", "--idle", "upsert.py", "stream", name, chosen.rows)
                columns[name] = shares(samples, UPSERT)
    rows = [(what, *(column[what] for column in columns.values())) for what in next(iter(columns.values()))]
    show(("upsert(), %", *columns), rows)


if __name__ == "__main__":
    main()
