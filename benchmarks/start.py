"""Seconds of the commands that people wait for, each in a fresh process, in a project that is set up."""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from shared import PACKAGE, PREFIX, bake, options, quiet, run, show, temporary_home, verdict

COMMANDS = {
    "a first run, of 31 chunks": (["run"], 10.0),
    "a run with nothing left": (["run"], 3.0),
    "status": (["status"], 1.0),
    "--help": (["--help"], 1.0),
}
"""What is timed, in this order, and the budget in seconds."""
MANY = 1_000_000
"""Steps that are done, in the end."""


def seconds(project: Path, arguments: list[str]) -> float:
    """Time a command."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", PACKAGE, *arguments], cwd=project, capture_output=True, check=True)
    return time.perf_counter() - start


def main() -> None:
    chosen = options(rounds=5)
    found: dict[str, list[float]] = {what: [] for what in COMMANDS}
    with temporary_home() as folder:
        with quiet():
            project = bake(folder)
        for number in range(chosen.rounds):
            home = folder / f"home-{number}"
            os.environ |= {"PYTHONPATH": str(project / "src"), f"{PREFIX}HOME": str(home)}
            for what, (arguments, _) in COMMANDS.items():
                found[what].append(seconds(project, arguments))
        run("remaining.py", home, "fill", 0, MANY)
        found[f"status, with {MANY:,} steps done"] = [seconds(project, ["status"]) for _ in range(chosen.rounds)]
    show(("seconds", "median"), [(what, statistics.median(each)) for what, each in found.items()])
    for what, each in found.items():
        verdict(f"{what}, seconds", each, COMMANDS.get(what, COMMANDS["status"])[1])


if __name__ == "__main__":
    main()
