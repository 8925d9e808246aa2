"""The outbox: effects delivered to a receiver on this machine, against the same requests without an outbox.

For each database a project is baked, and `deliver.py` runs in a fresh process: it sends effects in steps of 1,000, and
delivers them, by itself and again with ordering keys. The receiver is a process of its own.
"""

import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared import HERE, options, project_on, run, show, temporary_home, verdict

RATE = 500.0
"""Effects a second that are wanted at least, on 2 cores."""
BUDGET = 2.0
"""For the time of a delivered effect, in times of its request alone."""
HEADER = ("", "write, µs", "requests alone, a second", "delivered, a second", "with ordering keys", "ratio")


@contextmanager
def receiver() -> Iterator[str]:
    """Start a receiver; yield its URL."""
    command = [sys.executable, str(HERE / "receiver.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def main() -> None:
    given = options(effects=10_000, rounds=1)
    with temporary_home() as folder, receiver() as url:
        for name in given.only or ("sqlite", "postgres", "duckdb"):
            with project_on(folder, name) as work:
                rounds = [measure(work / str(number), url, given.effects) for number in range(given.rounds)]
            write, alone, plain, ordered = map(statistics.median, zip(*rounds, strict=True))
            ratios = [alone / plain for _, alone, plain, _ in rounds]
            show(HEADER, [(name, write, alone, plain, ordered, statistics.median(ratios))])
            verdict(f"{name}, a delivered effect, in times of its request alone", ratios, BUDGET)
            rates = [RATE / plain for _, _, plain, _ in rounds]
            verdict(f"{name}, {RATE:.0f} effects a second, in times of those delivered", rates, 1.0)


def measure(home: Path, url: str, effects: int) -> tuple[float, float, float, float]:
    """Return the microseconds to write an effect, and the rates: requests alone, delivered, delivered in order."""
    found = run("deliver.py", home, url, effects)
    return found["write"], found["alone"], found["plain"], found["ordered"]


if __name__ == "__main__":
    main()
