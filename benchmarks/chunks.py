"""Do chunks of work in the project's task runner: `chunks.py SOURCE CHUNKS TIMES`.

The work is real: the records of a chunk are read and checked, so many times over. Prints, as JSON, the seconds of the
flow, with the start and the end of its cluster, if it has one.
"""

import json
import sys
import time
from pathlib import Path

from durable_flights.durable import durable_task
from durable_flights.durable.runners import task_runner
from durable_flights.flows.flights.source import Chunk, check, opened
from prefect import flow, unmapped


@durable_task(version="1")
def work(chunk: Chunk, times: int) -> int:
    return sum(len(check(chunk)[0]) for _ in range(times))


@flow(task_runner=task_runner())
def job(chunks: list[Chunk], times: int) -> list[int]:
    return work.map(chunks, unmapped(times)).result()


def main(source: Path, count: int, times: int) -> None:
    with opened(source) as chunks:
        begin = time.perf_counter()
        read = job(chunks[:count], times)
        seconds = time.perf_counter() - begin
    print(json.dumps({"seconds": seconds, "read": sum(read)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
