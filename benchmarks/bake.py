"""A bake with hooks against the same bake without them, in turn: in one process, and by the command line."""

import itertools
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from shared import TEMPLATE, Columns, bake, in_turn, quiet, show, temporary_home, verdict

IN_PROCESS = (20, 1.6)
COMMAND_LINE = (10, 1.1)
"""Rounds, and the budget."""


def command(folder: Path, hooks: bool) -> None:
    """Bake with cookiecutter's command, in a fresh process."""
    options = ["--no-input", "--accept-hooks", "yes" if hooks else "no", "--output-dir", str(folder)]
    line = [sys.executable, "-m", "cookiecutter", str(TEMPLATE), *options]
    subprocess.run(line, stdout=subprocess.DEVNULL, check=True)


def compare(folder: Path, make: Callable[[Path, bool], object], rounds: int) -> Columns:
    """Time bakes with hooks and without."""
    places = (folder / f"{make.__name__}-{number}" for number in itertools.count())
    return in_turn(lambda: make(next(places), True), lambda: make(next(places), False), rounds)


def main() -> None:
    with temporary_home() as folder:
        with quiet():
            inside = compare(folder, bake, IN_PROCESS[0])
        outside = compare(folder, command, COMMAND_LINE[0])
    rows = [("in process", *map(statistics.median, inside)), ("command line", *map(statistics.median, outside))]
    show(("milliseconds", "hooks", "no hooks", "ratio"), rows)
    verdict("a bake with hooks, in times of one without, in one process", inside[2], IN_PROCESS[1])
    verdict("the same, by the command line", outside[2], COMMAND_LINE[1])


if __name__ == "__main__":
    main()
