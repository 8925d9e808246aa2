"""Seconds of the commands that people wait for, each in a fresh process, in a project that is set up."""

import os
import statistics
import subprocess
import sys
import time

from shared import PACKAGE, PREFIX, bake, options, quiet, show, temporary_home, verdict

COMMANDS = {
    "a first run, of 31 chunks": (["run"], 10.0),
    "a run with nothing left": (["run"], 3.0),
    "status": (["status"], 1.0),
    "--help": (["--help"], 1.0),
}
"""What is timed, in this order, and the budget in seconds."""


def main() -> None:
    chosen = options(rounds=5)
    found: dict[str, list[float]] = {what: [] for what in COMMANDS}
    with temporary_home() as folder:
        with quiet():
            project = bake(folder)
        for number in range(chosen.rounds):
            os.environ |= {"PYTHONPATH": str(project / "src"), f"{PREFIX}HOME": str(folder / f"home-{number}")}
            for what, (arguments, _) in COMMANDS.items():
                start = time.perf_counter()
                command = [sys.executable, "-m", PACKAGE, *arguments]
                subprocess.run(command, cwd=project, capture_output=True, check=True)
                found[what].append(time.perf_counter() - start)
    show(("seconds", "median"), [(what, statistics.median(seconds)) for what, seconds in found.items()])
    for what, seconds in found.items():
        verdict(f"{what}, seconds", seconds, COMMANDS[what][1])


if __name__ == "__main__":
    main()
