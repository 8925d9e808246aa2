"""What is left of a job, in this fresh process: `remaining.py time DONE LEFT`.

Prints, as JSON, the seconds of `Checkpoint(job).remaining(keys)` for steps that are done and as many more as LEFT says:
with the connection, without the imports. `remaining.py fill FIRST LAST` marks steps as done.
"""

import json
import sys
import time

from durable_flights.durable.checkpoints import Checkpoint
from marks import fill, names

JOB = "flights"


def main(what: str, *numbers: int) -> None:
    if what == "fill":
        print(json.dumps(fill(JOB, *numbers)))
        return
    done, left = numbers
    keys = names(0, done + left)
    start = time.perf_counter()
    found = Checkpoint(JOB).remaining(keys)
    seconds = time.perf_counter() - start
    if found != keys[done:]:
        raise SystemExit(f"{len(found)} steps are left, and not {left}")
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
