"""Do chunks without records, with their checkpoints, in the project's flow: `many.py CHUNKS`.

Prints, as JSON, the milliseconds a chunk and the process's peak of memory in MiB.
"""

import json
import sys
import time
from dataclasses import dataclass

from durable_flights.durable import Step, durable_flow, durable_task, run_chunks
from peak import peak


@dataclass(frozen=True)
class Empty:
    """A chunk without records."""

    key: str

    @property
    def label(self) -> str:
        return self.key


@durable_task(version="1")
def work(chunk: Empty, step: Step) -> dict[str, int] | None:
    with step as connection:
        return {"read": 0} if connection is not None else None


@durable_flow(name="load-many")
def load_many(count: int) -> None:
    run_chunks(work, [Empty(f"chunk {number}") for number in range(count)], job=f"of-{count}")


def main(count: int) -> None:
    start = time.perf_counter()
    load_many(count)
    seconds = time.perf_counter() - start
    print(json.dumps({"milliseconds": 1000 * seconds / count, "peak": peak()}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
