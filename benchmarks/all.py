"""Run the benchmarks: print their tables, and at the end one of the budgets.

Then the figures are written to README.md, and drawn as docs/speed.svg. With `--only` some scripts run; the last figures
of the others stay. `--quick` measures less, and writes nothing.
"""

import argparse
import json
import os
import platform
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from chart import draw
from shared import FIGURES, HERE, TEMPLATE, show

PAGE = HERE / "README.md"
CHART = TEMPLATE / "docs" / "speed.svg"
MARK = "<!-- What follows is written by `make bench`. -->\n"
KEPT = TEMPLATE / ".bench" / "measured"
"""The figures of each script, of whole runs."""


class Part(NamedTuple):
    """A script, and the title of its figures."""

    script: str
    title: str
    quick: Sequence[str] | None = None
    """What makes it measure less; None: it is left out."""


PARTS = (
    Part("load", "All flights", ("--rounds", "1")),
    Part("shares", "Where the time goes"),
    Part("memory", "Memory of a load"),
    Part("scale", "Many chunks", ("--chunks", "100")),
    Part("start", "Commands", ("--rounds", "2")),
    Part("keys", "Cache keys"),
    Part("bake", "Bakes"),
    Part("runners", "Where a cluster pays"),
    Part("outbox", "The outbox", ("--effects", "1000", "--rounds", "1")),
    Part("cursors", "High-water marks", ("--loads", "50")),
    Part("upserts", "Upserts", ("--rows", "20000", "--rounds", "2", "--growth", "1")),
    Part("steps", "Steps", ("--items", "300")),
    Part("contention", "Contention", ("--items", "640", "--rounds", "1")),
    Part("resume", "Resuming", ("--done", "10000", "--rounds", "2")),
)
HEADER = ("what", "median (middle half; rounds)", "budget", "found")


def measure(part: Part, arguments: Sequence[str]) -> dict[str, Any]:
    """Run a script, and pass on what it prints; return that without its verdicts, these, and the chart's figures."""
    command = [sys.executable, str(HERE / f"{part.script}.py"), *arguments]
    printed = []
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes"
        environment = os.environ | {FIGURES: str(notes)}
        # Else each process would compile what it imports.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            for line in process.stdout:
                print(line, end="", flush=True)
                printed.append(line)
        if process.returncode:
            raise SystemExit(f"{part.script}.py has failed")
        found = [json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines()] if notes.exists() else []
    verdicts = [note for note in found if "cells" in note]
    text = "".join(line for line in printed if line.rstrip("\n") not in {note["line"] for note in verdicts})
    return {
        "measured": f"{date.today()}, {os.cpu_count()} cores, {', '.join(map(' '.join, versions()))}",
        "text": text.strip(),
        "cells": [note["cells"] for note in verdicts],
        "figures": {note["section"]: note["figures"] for note in found if "section" in note},
    }


def versions() -> list[tuple[str, str]]:
    names = ("prefect", "sqlalchemy", "psycopg", "duckdb", "cookiecutter")
    own = [("Python", platform.python_version()), ("SQLite", sqlite3.sqlite_version)]
    return own + [(name, version(name)) for name in names]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=[part.script for part in PARTS], metavar="SCRIPT")
    chosen = parser.parse_args()
    found = {}
    begin = time.monotonic()
    for part in PARTS:
        kept = KEPT / f"{part.script}.json"
        if chosen.quick and part.quick is None:
            continue
        if chosen.only and part.script not in chosen.only:
            if not chosen.quick and kept.exists():
                found[part] = json.loads(kept.read_text(encoding="utf-8"))
            continue
        print(f"\n## {part.title}\n", flush=True)
        start = time.monotonic()
        found[part] = measure(part, part.quick or () if chosen.quick else ())
        print(f"\n({part.script}.py took {time.monotonic() - start:.0f} s)", flush=True)
        if not chosen.quick:
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(found[part]), encoding="utf-8")
    print("\n## Budgets\n")
    verdicts = [cells for each in found.values() for cells in each["cells"]]
    kept_ones = sum(cells[-1] == "within" for cells in verdicts)
    print(summary := f"{kept_ones} of {len(verdicts)} budgets are kept.\n")
    table = f"{summary}\n{show(HEADER, verdicts)}"
    print(f"\nAll took {(time.monotonic() - begin) / 60:.0f} minutes.")
    if lacking := [part.script for part in PARTS if part not in found and not chosen.quick]:
        print(f"the page stays as it is: {', '.join(lacking)} must be measured here too, by make bench")
    elif not chosen.quick:
        write(found, table)


def write(found: dict[Part, dict[str, Any]], table: str) -> None:
    """Write the page and the chart."""
    above, _, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    sections = [
        f"## {part.title}\n\nMeasured on {each['measured']}.\n\n{each['text']}\n" for part, each in found.items()
    ]
    page = "\n".join([f"{above}{MARK}", "## Budgets\n", table, *sections])
    PAGE.write_text(re.sub(r"\n{3,}", "\n\n", page), encoding="utf-8")
    figures: dict[str, Any] = {}
    for each in found.values():
        figures |= each["figures"]
    CHART.write_text(draw(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
