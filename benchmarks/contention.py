"""Steps in many processes on one PostgreSQL at a time, against the same by hand."""

import statistics

from shared import options, project_on, run, show, temporary_home, verdict

GROWTH = 1.3
"""Of a step with MANY processes at work, in times of one with SOME."""
ONE, SOME, MANY = 1, 8, 64


def main() -> None:
    chosen = options(items=6400, rounds=5)
    with temporary_home() as folder, project_on(folder, "postgres") as work:
        found = {
            count: run("contend.py", work / "steps", count, chosen.items, chosen.rounds) for count in (ONE, SOME, MANY)
        }
    rows = []
    for count, each in found.items():
        ours, hand = map(statistics.median, (each["ours"], each["hand"]))
        rows.append((count, ours, hand, ours / hand, f"{1e6 / ours:,.0f}"))
    show(("processes", "µs a step", "µs by hand", "ratio", "steps a second"), rows)
    growth = [many / some for many, some in zip(found[MANY]["ours"], found[SOME]["ours"], strict=True)]
    verdict(f"postgres, a step with {MANY} processes at work, in times of one with {SOME}", growth, GROWTH)


if __name__ == "__main__":
    main()
