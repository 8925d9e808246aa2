"""What a cursor adds to a step: in loads of one page, or of ten, of 100 records each."""

import statistics

from shared import options, project_on, run, show, temporary_home, verdict

BUDGET = 1.1
"""Times a step without, in loads of ten pages."""
ROWS = 100


def main() -> None:
    chosen = options(loads=200)
    with temporary_home() as folder, project_on(folder, "sqlite") as work:
        found = {steps: run("cursor.py", work / f"loads-of-{steps}", chosen.loads, steps, ROWS) for steps in (1, 10)}
    show(
        ("steps of a load", "µs a step without", "µs with a cursor", "ratio"),
        [
            (steps, times["without"], times["with"], statistics.median(times["ratios"]))
            for steps, times in found.items()
        ],
    )
    verdict("sqlite, a step with a cursor, in loads of ten, in times of one without", found[10]["ratios"], BUDGET)


if __name__ == "__main__":
    main()
