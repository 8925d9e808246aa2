"""Peak memory of the flow for all 336,776 flights against 33,000 of them, each in a fresh process."""

from itertools import islice
from pathlib import Path

from shared import all_flights, project_and_server, run, show_rounds, verdict

ROUNDS = 3
FEW = 33_000
BUDGET = 1.5


def first(source: Path, count: int) -> Path:
    """A file of the first records of another one."""
    target = source.with_name("few.csv")
    with source.open("rb") as file, target.open("wb") as few:
        few.writelines(islice(file, count + 1))
    return target


def main() -> None:
    found = []
    with project_and_server() as folder:
        every = all_flights(folder)
        few = first(every, FEW)
        for number in range(ROUNDS):
            home = folder / f"round{number}"
            peaks = [run("flow.py", home / source.stem, source, 1)["peak"] for source in (few, every)]
            found.append((*peaks, peaks[1] / peaks[0]))
    header = ("peak in MiB", f"{FEW:,} rows", "336,776 rows", "ratio")
    columns = show_rounds(header, found)
    verdict("ten times the rows, in times of the memory", columns[2], BUDGET)


if __name__ == "__main__":
    main()
