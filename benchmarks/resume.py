"""Seconds until it is known what is left of a job, in a fresh process, when 100,000 or 1,000,000 steps are done."""

import statistics
from pathlib import Path

from shared import options, project_on, run, show, temporary_home, verdict

BUDGETS = {"sqlite": 0.3, "file": 0.3, "postgres": 0.5, "duckdb": None}
"""Seconds, for 100,000 steps; ten times as many for ten times the steps."""
LEFT = 1000
"""Steps that are not done."""


def on(name: str, home: Path, done: int, rounds: int) -> list[list[float]]:
    """Return the seconds of the rounds, for the steps and for ten times the steps."""
    found, first = [], 0
    for size in (done, 10 * done):
        run("remaining.py", home, "fill", first, size)
        found.append([run("remaining.py", home, "time", size, LEFT)["seconds"] for _ in range(rounds)])
        first = size
    return found


def main() -> None:
    chosen = options(done=100_000, rounds=5)
    found = {}
    with temporary_home() as folder:
        for name in chosen.only or BUDGETS:
            with project_on(folder, name) as work:
                found[name] = on(name, work / "resume", chosen.done, chosen.rounds)
    header = ("seconds", f"{chosen.done:,} done", f"{10 * chosen.done:,} done", "ratio")
    medians = {name: [*map(statistics.median, columns)] for name, columns in found.items()}
    show(header, [(name, few, many, many / few) for name, (few, many) in medians.items()])
    for name, (few, many) in found.items():
        if (budget := BUDGETS[name]) is not None:
            verdict(f"{name}, seconds until it is known what is left", few, budget)
            verdict(f"{name}, the same for ten times the steps", many, 10 * budget)


if __name__ == "__main__":
    main()
