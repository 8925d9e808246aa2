"""What is left of a job, in this fresh process: `remaining.py fill|time DONE LEFT`.

`fill` marks so many steps of the job as done. `time` prints, as JSON, the seconds of `Checkpoint(job).remaining(keys)`
for these and as many more as LEFT says: with the connection, without the imports.
"""

import json
import sys
import time

from durable_flights.checkpoints import Checkpoint
from marks import fill, names

JOB = "flights"


def main(what: str, done: int, left: int) -> None:
    if what == "fill":
        print(json.dumps(fill(JOB, 0, done)))
        return
    keys = names(0, done + left)
    start = time.perf_counter()
    found = Checkpoint(JOB).remaining(keys)
    seconds = time.perf_counter() - start
    if found != keys[done:]:
        raise SystemExit(f"{len(found)} steps are left, and not {left}")
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
