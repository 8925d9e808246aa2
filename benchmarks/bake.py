"""A bake with hooks against the same bake without them, in turn: in one process, and by the command line."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from shared import TEMPLATE, bake, quiet, show, temporary_home, verdict

IN_PROCESS = (20, 1.6)
COMMAND_LINE = (10, 1.15)
"""Rounds, and the budget."""


def command(folder: Path, hooks: bool) -> None:
    """Bake with cookiecutter's command, in a fresh process."""
    options = ["--no-input", "--accept-hooks", "yes" if hooks else "no", "--output-dir", str(folder)]
    line = [sys.executable, "-m", "cookiecutter", str(TEMPLATE), *options]
    subprocess.run(line, stdout=subprocess.DEVNULL, check=True)


def compare(folder: Path, make: Callable[[Path, bool], object], rounds: int) -> tuple[float, float, float]:
    """Return the medians, in milliseconds, with hooks and without, and the median of the ratios of the pairs."""
    pairs = []
    for number in range(rounds + 1):
        seconds = {}
        # Who goes first changes from round to round.
        for hooks in (True, False) if number % 2 else (False, True):
            start = time.perf_counter()
            make(folder / f"{make.__name__}-{number}-{hooks}", hooks)
            seconds[hooks] = time.perf_counter() - start
        pairs.append((1000 * seconds[True], 1000 * seconds[False], seconds[True] / seconds[False]))
    # The first round imports and fills caches.
    hooked, plain, ratio = map(statistics.median, zip(*pairs[1:], strict=True))
    return hooked, plain, ratio


def main() -> None:
    with temporary_home() as folder:
        with quiet():
            inside = compare(folder, bake, IN_PROCESS[0])
        outside = compare(folder, command, COMMAND_LINE[0])
    show(("milliseconds", "hooks", "no hooks", "ratio"), [("in process", *inside), ("command line", *outside)])
    verdict("in process", inside[2], IN_PROCESS[1])
    verdict("by the command line", outside[2], COMMAND_LINE[1])


if __name__ == "__main__":
    main()
