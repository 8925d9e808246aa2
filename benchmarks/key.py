"""The key of a task whose input is a file, against a plain hash of that file, in this process: `key.py FILE 0|1`.

The number says whether the plain hash goes first. Prints, as JSON, the seconds of both, and by how many MiB the key
raised the process's peak of memory.
"""

import hashlib
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

from durable_flights.durable import durable_task
from durable_flights.durable.cache_keys import cache_key
from peak import peak


@durable_task(version="1")
def work(path: Path) -> None: ...


def plain(path: Path) -> float:
    start = time.perf_counter()
    with path.open("rb") as file:
        hashlib.file_digest(file, "sha256").hexdigest()
    return time.perf_counter() - start


def main(path: Path, plain_first: int) -> None:
    # The system keeps the file in memory from here on.
    plain(path)
    first = plain(path) if plain_first else 0.0
    before = peak()
    start = time.perf_counter()
    cache_key(SimpleNamespace(task=work), {"path": path})
    key = time.perf_counter() - start
    rise = peak() - before
    print(json.dumps({"key": key, "plain": first or plain(path), "rise": rise}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
