"""What others take for an item that is done and marked, in this process: `step_others.py dbos|prefect ITEMS`.

The item does nothing. Prints the microseconds an item, as JSON.
"""

import importlib.util
import json
import logging
import os
import sys
import time
from pathlib import Path


def dbos(items: int, folder: Path) -> float:
    """Steps of one workflow of DBOS, whose database is SQLite."""
    from dbos import DBOS

    DBOS(config={"name": "measured", "system_database_url": f"sqlite:///{folder / 'dbos.db'}", "log_level": "CRITICAL"})

    @DBOS.step()
    def item(number: int) -> int:
        return number

    @DBOS.workflow()
    def job() -> float:
        item(0)
        start = time.perf_counter()
        for number in range(items):
            item(number)
        return time.perf_counter() - start

    DBOS.launch()
    seconds: float = job()
    DBOS.destroy()
    return 1e6 * seconds / items


def prefect(items: int, folder: Path) -> float:
    """Tasks of one flow of Prefect, whose results are stored in files by the hash of their inputs."""
    os.environ |= {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    }
    from prefect import flow, task
    from prefect.cache_policies import INPUTS

    @task(cache_policy=INPUTS, persist_result=True)
    def item(number: int) -> int:
        return number

    @flow
    def job() -> float:
        item(-1)
        start = time.perf_counter()
        for number in range(items):
            item(number)
        return time.perf_counter() - start

    return 1e6 * job() / items


def main(name: str, items: int) -> None:
    logging.disable(logging.CRITICAL)
    if importlib.util.find_spec(name) is None:
        print(json.dumps({"missing": f"{name} is not installed"}))
        return
    from durable_flights.durable.settings import settings

    settings.home.mkdir(parents=True, exist_ok=True)
    microseconds = {"dbos": dbos, "prefect": prefect}[name](items, settings.home)
    print(json.dumps({"microseconds": microseconds, "items": items}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
