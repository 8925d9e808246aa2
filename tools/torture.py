"""Kill workers of generated projects, KILLS=500 of each, and look whether any step was lost or done twice.

For each database, and for the marks in a file and beside the results, a project is made and its job is done by worker
processes that get SIGKILL: at random moments, and at named points within a step. PostgreSQL is also stopped as a loss
of power would, and its connections are cut: `stops` and `outages`, the latter as workers saw them. Prints one line
each, and exits with 1 if a promise is broken: a step lost, one done twice where marks are in the database, a mark
without its effect, or a second run that changes something.
"""

import functools
import json
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PROJECTS = {
    "sqlite": {"upsert": "sqlite", "checkpoint": "database"},
    "postgres": {"upsert": "postgres", "checkpoint": "database"},
    "duckdb": {"upsert": "duckdb", "checkpoint": "database"},
    "file": {"upsert": "sqlite", "checkpoint": "file"},
    "storage": {"upsert": "sqlite", "checkpoint": "storage", "result_storage": "local"},
}
STEPS = 300
"""Steps of a job. A job is followed by another one until there were enough kills."""
ROWS = 3
"""That a step upserts."""
LOST_CONNECTION = 75
"""The exit code of a worker."""
TIMEOUT = 120
"""Seconds for a job to end, once nobody is killed any more."""


def main(names: list[str]) -> int:
    kills = int(os.environ.get("KILLS") or 500)
    broken = False
    print(
        f"{'':10}{'kills':>7}{'stops':>7}{'outages':>9}{'items':>8}{'lost':>6}{'doubled':>9}{'seconds':>9}", flush=True
    )
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        for name in names or PROJECTS:
            project = bake(Path(folder, name), PROJECTS[name])
            found = run(project, name, kills)
            columns = (found[what] for what in ("kills", "stops", "outages", "items", "lost", "doubled", "seconds"))
            print("{:10}{:7}{:7}{:9}{:8}{:6}{:9}{:9.0f}".format(name, *columns), *found["faults"], flush=True)
            broken |= bool(found["faults"])
    return int(broken)


def bake(folder: Path, answers: dict[str, str]) -> Path:
    given = [f"{prompt}={answer}" for prompt, answer in answers.items()]
    command = [sys.executable, "-m", "cookiecutter", "--no-input", "--output-dir", str(folder), str(ROOT), *given]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder / "durable-flights"


def run(project: Path, name: str, kills: int) -> dict[str, Any]:
    """Torture one project, in a process of its own that has its modules and its tests' ones."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(project / "src"), str(project)]),
        "DURABLE_FLIGHTS_HOME": str(project / "var"),
        "DURABLE_FLIGHTS_ENV_FILE": os.devnull,
        "PREFECT_HOME": str(project / "prefect"),
    }
    command = [sys.executable, str(Path(__file__)), "--inside", name, str(kills)]
    done = subprocess.run(command, cwd=project, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name}: the torture itself failed\n{done.stdout[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


# Within a project. What is imported here is the project's, and reads its environment then.


@functools.cache
def rows() -> Any:
    """The table that steps upsert to."""
    from durable_flights.durable.tables import metadata
    from sqlalchemy import Column, String, Table

    return Table("rows", metadata, Column("id", String(40), primary_key=True), Column("step", String(40)))


def rows_of(key: str) -> list[dict[str, Any]]:
    return [{"id": f"{key}/{n}", "step": key} for n in range(ROWS)]


def begun(pid: int | None) -> Path:
    from durable_flights.durable.settings import settings

    return settings.home / f"{pid}.begun"


def labour(job: str, keys: list[str], point: str | None, hit: int) -> None:
    """Do what remains of a job, in an order of this process's own, and die at the given point."""
    from sqlalchemy.exc import OperationalError

    rows()
    begun(os.getpid()).touch()
    try:
        do(job, keys, point, hit)
    except OperationalError as error:
        if not error.connection_invalidated and "connection" not in str(error):
            raise
        sys.exit(LOST_CONNECTION)


def do(job: str, keys: list[str], point: str | None, hit: int) -> None:
    from durable_flights.durable.checkpoints import Checkpoint
    from durable_flights.durable.upserts import upsert
    from tests.support import crash

    checkpoint = Checkpoint(job)
    remaining = checkpoint.remaining(keys)
    in_database = hasattr(crash, "counts")
    at = crash.killer(point, hit, signal.SIGKILL) if in_database else crash.killer(point, hit)
    if point and not in_database:
        crash.watch_transactions(at)
    for key in random.Random(os.getpid()).sample(remaining, len(remaining)):
        with checkpoint.step(key) as connection:
            if connection is None:
                continue
            if in_database:
                crash.add(connection, key, 0)
                at("half of the effect")
                upsert(connection, rows(), rows_of(key))
                crash.add(connection, key, 1)
                at("effect before mark")
            else:
                at("before the effect")
                with (crash._counts() / key).open("ab") as file:
                    file.write(b"1")
                at("half of the effect")
                upsert(connection, rows(), rows_of(key))
        at("committed" if in_database else "marked")


class Torture:
    """Jobs, one after the other, whose workers are killed until there were enough of that."""

    def __init__(self, name: str, kills: int) -> None:
        self.name, self.wanted = name, kills
        self.dice = random.Random(13)
        self.kills = self.stops = self.outages = self.items = self.lost = self.doubled = 0
        self.faults: list[str] = []
        self.processes = multiprocessing.get_context("forkserver")
        # The forks import this file as their main module, and find the project by PYTHONPATH.
        self.processes.set_forkserver_preload(["tests.support.crash", "durable_flights.durable.upserts"])
        self.folder = Path("postgres").absolute()
        self.proxy: Any = None

    def all(self) -> dict[str, Any]:
        began = time.monotonic()
        if self.name == "postgres":
            self.serve()
        from durable_flights.durable.settings import settings

        settings.home.mkdir(parents=True, exist_ok=True)
        number = 0
        while self.kills < self.wanted:
            self.job(f"job-{number}", [f"{number}-{n}" for n in range(STEPS)])
            number += 1
        found = {
            name: getattr(self, name) for name in ("kills", "stops", "outages", "items", "lost", "doubled", "faults")
        }
        return {**found, "seconds": time.monotonic() - began}

    def serve(self) -> None:
        """Start a server, and lead the workers to it through a proxy, this process without."""
        from sqlalchemy import make_url
        from tests.support import servers, sink

        os.environ |= sink.start(self.folder)
        import durable_flights.durable.settings  # noqa: F401

        url = make_url(os.environ[sink.SETTING])
        path = f"{url.query.get('host')}/.s.PGSQL.{url.query.get('port', 5432)}"

        def target() -> socket.socket:
            server = socket.socket(socket.AF_UNIX)
            server.connect(path)
            return server

        self.context = servers.cuts(target)
        self.proxy = self.context.__enter__()
        through = url.set(host="127.0.0.1", port=self.proxy.server_address[1], query={})
        os.environ[sink.SETTING] = through.render_as_string(hide_password=False)

    def start(self, job: str, keys: list[str], deadly: bool = True) -> Any:
        """Start a worker, which dies at a named point or, in half of the cases, whenever this process kills it."""
        from tests.support import crash, sink

        sink.release()
        point = self.dice.choice(crash.POINTS) if deadly and self.dice.random() < 0.5 else None
        process = self.processes.Process(target=labour, args=(job, keys, point, self.dice.randrange(1, 12)))
        process.start()
        return process

    def job(self, job: str, keys: list[str]) -> None:
        from durable_flights.durable.tables import create
        from durable_flights.durable.upserts import database
        from sqlalchemy import insert
        from tests.support import crash, sink

        rows()
        create(database())
        if hasattr(crash, "counts"):
            with database().begin() as connection:
                crash.counts.create(connection, checkfirst=True)
                counts = [{"step": key, "half": half, "n": 0} for key in keys for half in crash.HALVES]
                connection.execute(insert(crash.counts), counts)
        else:
            crash._counts().mkdir(parents=True, exist_ok=True)
        running: dict[Any, float | None] = {self.start(job, keys): None for _ in range(sink.WRITERS)}
        while not any(process.exitcode == 0 for process in running):
            time.sleep(0.003)
            now = time.monotonic()
            for process, end in list(running.items()):
                if process.exitcode is not None and process.exitcode != 0:
                    self.ended(process)
                    del running[process]
                    running[self.start(job, keys, deadly=self.kills < self.wanted)] = None
                elif end is None and begun(process.pid).exists():
                    running[process] = now + self.dice.uniform(0, 0.2)
                elif end is not None and now > end and self.kills < self.wanted:
                    process.kill()
                    process.join()
            self.break_connections()
        if self.proxy:
            self.proxy.bytes_left = None
        for process in running:
            process.join(TIMEOUT)
            if process.exitcode:
                self.ended(process)
        last = self.start(job, keys, deadly=False)
        last.join(TIMEOUT)
        if last.exitcode != 0:
            self.faults.append(f"{job} does not end: {last.exitcode}")
        self.check(job, keys)

    def ended(self, process: Any) -> None:
        if process.exitcode == -signal.SIGKILL and begun(process.pid).exists():
            self.kills += 1
        elif process.exitcode == LOST_CONNECTION and self.proxy:
            self.outages += 1
        elif process.exitcode != -signal.SIGKILL:
            self.faults.append(f"a worker ended with {process.exitcode}")
        if len(self.faults) > 20:
            sys.exit(f"too many faults: {self.faults}")
        begun(process.pid).unlink(missing_ok=True)

    def break_connections(self) -> None:
        from tests.support import sink

        if self.proxy and self.dice.random() < 0.01:
            self.proxy.bytes_left = self.dice.randrange(1, 3000)
        if self.proxy and self.dice.random() < 0.001:
            sink.crash(self.folder)
            self.stops += 1

    def check(self, job: str, keys: list[str]) -> None:
        """Look at what the job has done, and that to do it again changes nothing."""
        first = self.state(job, keys)
        again = self.start(job, keys, deadly=False)
        again.join(TIMEOUT)
        if again.exitcode != 0 or self.state(job, keys) != first:
            self.faults.append(f"a second run of {job} changes something")
        times, done, table = first
        in_database = self.name not in ("file", "storage")
        lost = [key for key in keys if min(times[key]) < 1 or key not in done or table.get(key) != ROWS]
        doubled = [key for key in keys if max(times[key]) > 1]
        self.items += len(keys)
        self.lost += len(lost)
        self.doubled += len(doubled)
        if lost or (doubled and in_database):
            self.faults.append(f"{job}: lost {lost}, doubled {doubled}")

    def state(self, job: str, keys: list[str]) -> tuple[dict[str, list[int]], set[str], dict[str, int]]:
        """How often the effect of each step was done, which are marked, and how many of its rows are there."""
        from durable_flights.durable.checkpoints import Checkpoint
        from durable_flights.durable.upserts import database
        from sqlalchemy import func, select
        from tests.support import crash, sink

        if not sink.is_sound():
            self.faults.append("the database is damaged")
        times: dict[str, list[int]] = {key: [] for key in keys}
        with database().connect() as connection:
            if hasattr(crash, "counts"):
                for key, n in connection.execute(select(crash.counts.c.step, crash.counts.c.n)):
                    if key in times:
                        times[key].append(n)
            else:
                times = {key: [crash.begun(key)] for key in keys}
            step = rows().c.step
            table = dict(connection.execute(select(step, func.count()).group_by(step)).all())
        found = times, Checkpoint(job).done(), table
        sink.release()
        return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        print(json.dumps(Torture(sys.argv[2], int(sys.argv[3])).all()))
    else:
        sys.exit(main(sys.argv[1:]))
