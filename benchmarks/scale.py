"""The time of a chunk without records, and the peak of memory, for ten times the chunks, each in a fresh process."""

from shared import options, project_and_server, run, show, verdict

GROWTH = 1.1
"""Of the time of a chunk, and of the peak of memory, for ten times the chunks."""


def main() -> None:
    few = options(chunks=1000).chunks
    with project_and_server() as folder:
        found = {count: run("many.py", folder / "scale", count) for count in (few, 10 * few)}
    show(
        ("chunks", "ms a chunk", "peak MiB"),
        [(f"{count:,}", figures["milliseconds"], figures["peak"]) for count, figures in found.items()],
    )
    for what, unit in (("time of a chunk", "milliseconds"), ("memory", "peak")):
        verdict(f"ten times the chunks, in times of the {what}", found[10 * few][unit] / found[few][unit], GROWTH)


if __name__ == "__main__":
    main()
