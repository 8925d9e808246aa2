"""Load a file with the project's flow, so many times over, in this process: `flow.py SOURCE TIMES [DAYS]`.

Prints, as JSON, the seconds of each time, the process's peak of memory in MiB, and the reports.
"""

import json
import sys
import time
from pathlib import Path

from durable_flights.flows.flights.flow import load_flights
from peak import peak


def main(source: Path, times: int, days: int = 1) -> None:
    seconds, reports = [], []
    for number in range(times):
        if number:
            # The server still records the events of the run before, and answers late while it does.
            time.sleep(10)
        start = time.perf_counter()
        reports.append(load_flights(source=source, job="flights", chunk_days=days))
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": seconds, "peak": peak(), "reports": reports}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
