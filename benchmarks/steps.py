"""A step with its mark against the same by hand, and against others, in turn; and its cost when many are done."""

import statistics
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

from shared import options, project_on, run, save, show, temporary_home, verdict

BUDGETS = {"sqlite": 1.3, "postgres": 1.3, "file": 1.15, "duckdb": None}
"""Times by hand."""
GROWTH = 1.2
"""Of an item when MANY steps of its job are done, in times of one when FEW are."""
FEW, MANY = 1000, 100_000
OTHERS = {
    "dbos": ("a step of DBOS on SQLite", 5),
    "prefect": ("a task of Prefect, its result stored by its inputs", 50),
}
"""What they are, and by what the number of items is divided for them."""


def others(home: Path, items: int) -> list[dict[str, Any]]:
    """The microseconds of those that bring a database or a server of their own; those missing are named."""
    found = []
    for name, (title, fewer) in OTHERS.items():
        try:
            answer = run("step_others.py", home / name, name, max(1, items // fewer))
        except CalledProcessError:
            answer = {"missing": "it failed, see above"}
        if "missing" in answer:
            print(f"left out: {title}: {answer['missing']}", flush=True)
        else:
            found.append({"name": title, **answer})
    return found


def on(name: str, home: Path, items: int) -> dict[str, Any]:
    """Show the step, the same by hand and the others, on one database or on `file`; then how the step's cost grows."""
    found = run("step.py", home, name, items, FEW, MANY)
    ways = {way["name"]: way | {"ratio": statistics.median(way["ratios"])} for way in found["ways"]}
    for other in others(home, items) if name == "sqlite" else ():
        ways[other["name"]] = other | {"ratio": other["microseconds"] / ways["by hand"]["microseconds"]}
    print(f"\n{name}: items, one transaction or flush each\n")
    show(
        (name, "items", "µs an item", "times by hand"),
        [
            (way["name"], f"{way['items']:,}", way["microseconds"], way["ratio"])
            for way in sorted(ways.values(), key=lambda way: way["ratio"])
        ],
    )
    growth = found["growth"]
    print(f"\n{name}: µs an item when so many steps of its job are done\n")
    row = ("step()", growth["few"], growth["many"], statistics.median(growth["ratios"]))
    show((name, f"{FEW:,}", f"{MANY:,}", "ratio"), [row])
    if (budget := BUDGETS[name]) is not None:
        verdict(f"{name}, a step in times of the same by hand", ways["step()"]["ratios"], budget)
    verdict(f"{name}, a step when {MANY:,} are done, in times of one when {FEW:,} are", growth["ratios"], GROWTH)
    return {"ways": ways}


def main() -> None:
    chosen = options(items=2000)
    figures = {}
    with temporary_home() as folder:
        for name in chosen.only or BUDGETS:
            with project_on(folder, name) as work:
                figures[name] = on(name, work / "steps", chosen.items)
    save("steps", figures)


if __name__ == "__main__":
    main()
