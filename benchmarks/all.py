"""Run all benchmarks: print their tables, and at the end one of the budgets. `--quick` measures less.

A whole run then writes the figures to README.md, and draws them as docs/speed.svg.
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
MEASURED = ("prefect", "sqlalchemy", "psycopg", "duckdb", "cookiecutter")


class Part(NamedTuple):
    """A script, and the title of its figures."""

    script: str
    title: str
    quick: Sequence[str] | None = None
    """What makes it measure less; None: it is left out."""


PARTS = (
    Part("load", "All flights", ["--rounds", "1"]),
    Part("memory", "Memory of a load"),
    Part("scale", "Many chunks", ["--chunks", "100"]),
    Part("start", "Commands", ["--rounds", "2"]),
    Part("keys", "Cache keys"),
    Part("bake", "Bakes"),
    Part("runners", "Where a cluster pays"),
    Part("outbox", "The outbox", ["--effects", "1000", "--rounds", "1"]),
    Part("cursors", "High-water marks", ["--loads", "50"]),
    Part("upserts", "Upserts", ["--rows", "20000", "--rounds", "2", "--growth", "1"]),
    Part("steps", "Steps", ["--items", "300"]),
    Part("resume", "Resuming", ["--done", "10000", "--rounds", "2"]),
)
HEADER = ("what", "median (middle half; rounds)", "budget", "found")


def run(part: Part, arguments: Sequence[str], notes: Path) -> str:
    """Run a script, and pass on what it prints; return that without the verdicts."""
    command = [sys.executable, str(HERE / f"{part.script}.py"), *arguments]
    environment = os.environ | {FIGURES: str(notes)}
    printed = []
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            print(line, end="", flush=True)
            printed.append(line)
    if process.returncode:
        raise SystemExit(f"{part.script}.py has failed")
    verdicts = {note["line"] for note in noted(notes) if "line" in note}
    return "".join(line for line in printed if line.rstrip("\n") not in verdicts)


def noted(notes: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines()] if notes.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    sections = []
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes"
        for part in PARTS:
            if quick and part.quick is None:
                continue
            print(f"\n## {part.title}\n", flush=True)
            start = time.monotonic()
            sections.append(f"## {part.title}\n\n{run(part, part.quick or () if quick else (), notes).strip()}\n")
            print(f"\n({part.script}.py took {time.monotonic() - start:.0f} s)", flush=True)
        found = noted(notes)
    rows = [note["cells"] for note in found if "cells" in note]
    print("\n## Budgets\n")
    table = show(HEADER, rows)
    if quick:
        return
    versions = ", ".join(f"{name} {version(name)}" for name in MEASURED)
    head = f"Measured on {date.today()}, {os.cpu_count()} cores, Python {platform.python_version()}, SQLite"
    text = f"{head} {sqlite3.sqlite_version}, {versions}.\n"
    above, _, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    page = "\n".join([above + MARK, "## Budgets\n", text, table, *sections])
    PAGE.write_text(re.sub(r"\n{3,}", "\n\n", page), encoding="utf-8")
    CHART.write_text(draw({note["section"]: note["figures"] for note in found if "section" in note}), encoding="utf-8")


if __name__ == "__main__":
    main()
