"""The time of a chunk without records, and the peak of memory, for ten times the chunks, each in a fresh process."""

from typing import Any

from shared import options, project_and_server, project_on, run, show_rounds, verdict

GROWTH = 1.1
"""Of the time of a chunk, and of the peak of memory, for ten times the chunks."""


def on(name: str, chunks: int) -> dict[str, Any]:
    """Do chunks with a Prefect server of their own: it records what a run was long after its end."""
    with project_and_server() as folder, project_on(folder, name) as work:
        return run("many.py", work / "scale", chunks)


def main() -> None:
    chosen = options(chunks=1000, rounds=2)
    for name in chosen.only or ("sqlite", "postgres"):
        found = []
        for _ in range(chosen.rounds):
            few, many = on(name, chosen.chunks), on(name, 10 * chosen.chunks)
            times, peaks = ((few[what], many[what], many[what] / few[what]) for what in ("milliseconds", "peak"))
            found.append((*times, *peaks))
        print(f"\n{name}: {10 * chosen.chunks:,} chunks against {chosen.chunks:,}\n")
        header = (name, "ms a chunk", "ten times the chunks", "ratio", "peak MiB", "ten times the chunks", "ratio")
        columns = show_rounds(header, found)
        verdict(f"{name}, ten times the chunks, in times of the time of a chunk", columns[2], GROWTH)
        verdict(f"{name}, ten times the chunks, in times of the memory", columns[5], GROWTH)


if __name__ == "__main__":
    main()
