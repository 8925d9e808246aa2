"""Ctrl-C in the default project, with the temporary server that a run starts for itself."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
from projects import path_of
from variants import Answers

STOPPED = "stopped; finished chunks are kept; run the same command again for the rest"
YEARS = range(2001, 2071)
"""So many that the run does not end by itself while this test looks on."""


@pytest.mark.rotating
def test_ctrl_c_ends_the_run_soon(baked: Callable[[Answers], Path], tmp_path: Path) -> None:
    project = baked({})
    header, *records = (project / "data" / "flights.csv").read_text().splitlines()
    years = [record.replace("2013,1,", f"{year},1,", 1) for year in YEARS for record in records]
    source = tmp_path / "flights.csv"
    source.write_text("\n".join([header, *years]) + "\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")} | {
        "DURABLE_FLIGHTS_HOME": str(tmp_path / "var"),
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PYTHONPATH": path_of(project),
    }
    command = [sys.executable, "-m", "durable_flights", "run", "load-flights", str(source)]
    with (tmp_path / "log").open("w") as log:
        # A group of its own, as a terminal gives it: Ctrl-C reaches all processes of the group.
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, process_group=0)
        deadline = time.monotonic() + 180
        while process.poll() is None and done(tmp_path) < 20:
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.01)
        # Python may lose an interrupt that comes in a callback; then somebody presses the keys again.
        for _ in range(4):
            os.killpg(process.pid, signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
                break
        else:
            process.kill()
            pytest.fail("the run did not end within a minute")
    said = (tmp_path / "log").read_text()
    assert process.returncode == 130, said
    assert said.splitlines() == [STOPPED]
    assert done(tmp_path) < 31 * len(YEARS)


def done(folder: Path) -> int:
    try:
        with closing(sqlite3.connect(f"file:{folder / 'var' / 'database.db'}?mode=ro", uri=True)) as database:
            return int(database.execute("SELECT count(*) FROM steps").fetchone()[0])
    except sqlite3.OperationalError:  # it is not there yet, or has no tables
        return 0
