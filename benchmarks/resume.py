"""Seconds until it is known what is left of a job, in a fresh process, when 100,000 or 1,000,000 steps are done."""

import statistics
from pathlib import Path

from shared import options, project_on, run, save, show, temporary_home, verdict

BUDGETS = {"sqlite": 0.3, "file": 0.3, "postgres": 0.5, "duckdb": None}
"""Seconds, for 100,000 steps; ten times as many for ten times the steps."""
LEFT = 1000
"""Steps that are not done."""


def on(name: str, home: Path, done: int, rounds: int) -> tuple[float, float, float]:
    """Return the medians of the seconds for the steps and for ten times the steps, and their ratio."""
    medians, first = [], 0
    for size in (done, 10 * done):
        run("remaining.py", home, "fill", first, size)
        medians.append(
            statistics.median(run("remaining.py", home, "time", size, LEFT)["seconds"] for _ in range(rounds))
        )
        first = size
    return medians[0], medians[1], medians[1] / medians[0]


def main() -> None:
    chosen = options(done=100_000, rounds=5)
    found = {}
    with temporary_home() as folder:
        for name in chosen.only or BUDGETS:
            with project_on(folder, name) as work:
                found[name] = on(name, work / "resume", chosen.done, chosen.rounds)
    header = ("seconds", f"{chosen.done:,} done", f"{10 * chosen.done:,} done", "ratio")
    show(header, [(name, *row) for name, row in found.items()])
    print()
    for name, (few, many, _) in found.items():
        if (budget := BUDGETS[name]) is not None:
            verdict(f"{name}, seconds until it is known what is left", few, budget)
            verdict(f"{name}, the same for ten times the steps", many, 10 * budget)
    save(
        chosen.json,
        "resume",
        {name: dict(zip(("few", "many", "ratio"), row, strict=True)) for name, row in found.items()},
    )


if __name__ == "__main__":
    main()
