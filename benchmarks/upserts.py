"""An upsert of 100,000 rows of 6 columns against the fewest statements that do it, and against others, in turn.

Then 1,000,000 rows from a generator against 100,000: the time of a row, and the peak of memory.
"""

import statistics
from pathlib import Path
from typing import Any

from shared import options, project_on, run, save, show, show_rounds, temporary_home, verdict

BUDGETS = {"sqlite": 1.8, "postgres": 0.8, "duckdb": 1.3}
"""Times the floor."""
RANDOM_BUDGETS = {"duckdb": 1.6}
"""The same, with keys in random order."""
GROWTH = 1.2
"""Of the time of a row, and of the peak of memory, for ten times the rows."""
OURS = "upsert()"


def compare(name: str, home: Path, count: int, rounds: int) -> dict[str, Any]:
    """Show the project's upsert, its floor and the others, on one database."""
    found = run("upsert.py", home, "compare", name, count, rounds)
    writers = {writer["name"]: writer | {"ratio": statistics.median(writer["ratios"])} for writer in found["writers"]}
    ordered = sorted(writers.values(), key=lambda writer: ("random" in writer["name"], writer["ratio"]))
    print(f"\n{name}: {count:,} rows, half of them new, {rounds} rounds\n")
    show(
        (name, "rows", "µs a row", "times the floor", "lowest", "highest", "without"),
        [
            (
                writer["name"],
                f"{writer['rows']:,}",
                writer["microseconds"],
                writer["ratio"],
                min(writer["ratios"]),
                max(writer["ratios"]),
                writer["lacks"],
            )
            for writer in ordered
        ],
    )
    for line in found["missing"]:
        print(f"Left out: {line}\n")
    ours = writers[OURS]["ratios"]
    verdict(f"{name}, upsert() in times of the floor", ours, BUDGETS[name])
    if name in RANDOM_BUDGETS:
        ratios = writers[f"{OURS}, keys in random order"]["ratios"]
        verdict(f"{name}, the same with keys in random order", ratios, RANDOM_BUDGETS[name])
    for writer in ordered:
        beside = writers[writer["floor"].replace("floor", OURS)]["ratios"]
        behind = sum(theirs <= mine for theirs, mine in zip(writer["ratios"], beside, strict=True))
        if behind and not writer["name"].startswith(("floor", OURS)):
            print(f"In {behind} of {rounds} rounds {writer['name']} was as fast; it leaves out {writer['lacks']}.\n")
    return writers


def grow(name: str, home: Path, count: int, rounds: int) -> None:
    """Show ten times the rows against the rows, each in a fresh process."""
    found = []
    for number in range(rounds):
        answers = []
        for size in (count, 10 * count):
            place = home / f"{number}-{size}"
            run("upsert.py", place, "fill", name, size)
            answers.append(run("upsert.py", place, "stream", name, size))
        few, many = answers
        found.append((many["seconds"] / few["seconds"] / 10, few["peak"], many["peak"], many["peak"] / few["peak"]))
    print(f"\n{name}: {10 * count:,} rows against {count:,}, from a generator\n")
    header = (name, "time of a row, ratio", "peak MiB", "peak MiB, ten times the rows", "peak, ratio")
    columns = show_rounds(header, found)
    verdict(f"{name}, ten times the rows, in times of the time of a row", columns[0], GROWTH)
    verdict(f"{name}, ten times the rows, in times of the memory", columns[3], GROWTH)


def main() -> None:
    chosen = options(rows=100_000, rounds=5, growth=3)
    figures = {}
    with temporary_home() as folder:
        for name in chosen.only or BUDGETS:
            with project_on(folder, name) as work:
                writers = compare(name, work / "compare", chosen.rows, chosen.rounds)
                figures[name] = {"writers": writers}
                if chosen.growth:
                    grow(name, work, chosen.rows, chosen.growth)
    save("upserts", figures)


if __name__ == "__main__":
    main()
