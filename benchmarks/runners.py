"""Where a cluster pays: chunks of real work in 1 and 2 processes of Dask and of Ray, in times of threads."""

import os
import shutil
import statistics
import sys

from shared import PREFIX, all_flights, bake, options, project_and_server, quiet, run, show

TIMES = (1, 100, 500)
"""How often the records of a chunk are checked: some 10 ms each time."""
CHUNKS = 16
RUNNERS = [("threads", 2), *((runner, workers) for runner in ("dask", "ray") for workers in (1, 2))]


def main() -> None:
    chosen = options(rounds=1)
    seconds: dict[tuple[str, int, int], list[float]] = {}
    read: dict[int, int] = {}
    with project_and_server() as folder:
        source = all_flights(folder)
        with quiet():
            paths = {runner: bake(folder / runner, task_runner=runner) / "src" for runner in dict(RUNNERS)}
        for number in range(1, chosen.rounds + 1):
            for times in TIMES:
                for runner, workers in RUNNERS:
                    os.environ |= {"PYTHONPATH": str(paths[runner]), f"{PREFIX}WORKERS": str(workers)}
                    found = run("chunks.py", folder / "round", source, CHUNKS, times)
                    seconds.setdefault((runner, workers, times), []).append(found["seconds"])
                    if read.setdefault(times, found["read"]) != found["read"]:
                        raise SystemExit(f"{runner} has read {found['read']} records, and threads {read[times]}")
                    shutil.rmtree(folder / "round")
            print(f"round {number} of {chosen.rounds} is done", file=sys.stderr)
    medians = {key: statistics.median(found) for key, found in seconds.items()}
    alone = {times: medians["threads", 2, times] for times in TIMES}
    header = ("in times of threads", *(f"{alone[times] / CHUNKS:.2f} s a chunk" for times in TIMES))
    rows = [
        (
            f"{runner}, {workers} worker{'s'[: workers > 1]}",
            *(medians[runner, workers, times] / alone[times] for times in TIMES),
        )
        for runner, workers in RUNNERS
    ]
    show(header, rows)
    show(
        ("seconds", *header[1:]),
        [(row[0], *(medians[*key, t] for t in TIMES)) for row, key in zip(rows, RUNNERS, strict=True)],
    )
    crossings = ", ".join(f"{runner}'s at {crossing(medians, runner):.0f} s" for runner in ("dask", "ray"))
    print(f"With 2 workers a line through the last two crosses threads' own: {crossings}.\n")


def crossing(medians: dict[tuple[str, int, int], float], runner: str) -> float:
    """The seconds in threads from which on two workers of a cluster are faster, by a line through the two longest."""
    (x, y), (longer, most) = ((medians["threads", 2, times], medians[runner, 2, times]) for times in TIMES[1:])
    slope = (most - y) / (longer - x)
    return (y - slope * x) / (1 - slope)


if __name__ == "__main__":
    main()
