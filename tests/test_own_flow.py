"""A stranger's walk: flows of one's own in a project without an example, killed, resumed, deployed and removed.

Two of them are over folders of files, and one is over an API.

No file of the template's rooms, `durable` and `tests/durable`, is touched anywhere in it.
"""

import csv
import importlib.util
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from conftest import Bake
from projects import path_of, said_by
from variants import ALL, CHOICES, TEMPLATE, Answers, command, each

TIMEOUT = 300.0
"""Seconds for anything to happen."""
REFUSED = """
import json
from {package}.durable import scaffold
from {package}.durable.errors import InputError

refused = []
for name in {names} + ["orders"]:
    try:
        scaffold.write_flow(name)
    except InputError:
        refused.append(name)
print(json.dumps(refused))
"""
"""Prints those of the names that are refused."""
ACQUITTED: list[Answers] = [
    {},
    {"checkpoint": "none"},
    *({"task_runner": runner} for runner in CHOICES["task_runner"][1:] if ALL),
]
"""Where flows are proven. Each run starts a cluster, which takes seconds, so only `make test-all` does it there."""
PROMPTS = ("upsert", "checkpoint", "result_storage")
FILES = 40
SLOW = """
import time
from pathlib import Path

_whole = WHOLE


def WHOLE(chunk):
    with (Path(__file__).parents[4] / "seen").open("a") as seen:
        seen.write("x")
    time.sleep(0.3)
    return _whole(chunk)
"""
"""What makes a flow slow, and tells how far it is: its owner's edit, and taken back."""
ROWS = """
import json, sys
from sqlalchemy import select
from {package}.durable import database, discovery, metadata

discovery.flows()
table = metadata.tables[sys.argv[1]]
with database().connect() as connection:
    print(json.dumps({{row.id: [row.name, str(row.amount)] for row in connection.execute(select(table))}}))
"""


def pairs() -> list[Answers]:
    """Return variants in which any two answers of the prompts come together that may."""
    wanted = {
        frozenset(pair)
        for prompts in itertools.combinations(PROMPTS, 2)
        for pair in itertools.product(*([(prompt, answer) for answer in CHOICES[prompt]] for prompt in prompts))
        if TEMPLATE.valid(dict(pair))
    }
    variants = []
    while wanted:
        some = (dict(zip(PROMPTS, answers, strict=True)) for answers in itertools.product(*map(CHOICES.get, PROMPTS)))
        best = max(
            filter(TEMPLATE.valid, some),
            key=lambda variant: len({frozenset(two) for two in itertools.combinations(variant.items(), 2)} & wanted),
        )
        wanted -= {frozenset(two) for two in itertools.combinations(best.items(), 2)}
        variants.append({"example": "none", **best})
    return variants


def walked() -> list[Answers]:
    """Return the variants that are walked: those of `pairs`, or two of them, with the main steps only."""
    few = [{}, {"upsert": "postgres", "checkpoint": "storage", "result_storage": "s3"}]
    return pairs() if ALL else [{"example": "none", **answers} for answers in few]


class Walk:
    """A project on its way."""

    def __init__(self, project: Path, variant: Answers, environment: dict[str, str]) -> None:
        self.project = project
        self.variant = variant
        self.package = next(path.name for path in (project / "src").iterdir())
        self.environment = {**environment, "PYTHONPATH": path_of(project)}
        # As its owner's programs do, it compiles its modules once.
        del self.environment["PYTHONDONTWRITEBYTECODE"]
        self.database = variant.get("upsert", "sqlite") != "none"
        self.marks = variant.get("checkpoint") != "none"

    def run(self, *arguments: object, code: int = 0, timeout: float = TIMEOUT) -> str:
        """Run a program in the project, and return what it says."""
        try:
            return said_by(self.project, self.environment, *arguments, code=code, timeout=timeout)
        except AssertionError as error:
            error.add_note(f"Bake it again with:\n  {command(self.variant)}")
            raise

    def make(self, *arguments: str, code: int = 0, timeout: float = TIMEOUT) -> str:
        """Call one of the project's commands, in the environment that runs these tests."""
        there = f"BIN={Path(sys.executable).parent}"
        options = ["--no-print-directory", "--old-file=.venv/.ready", there]
        return self.run("make", *options, *arguments, code=code, timeout=timeout)

    def check(self) -> None:
        """Call `make lint`, and run the tests of the owner's flows and those that look at what they are."""
        self.make("lint")
        readers = ["conventions.py", "migrations.py", "prefect_yaml.py", "deployment.py"]
        files = [f"tests/durable/test_{reader}" for reader in readers]
        there = [file for file in files if (self.project / file).exists()]
        self.make("test", f"ARGS=tests/flows {' '.join(there)} -n 0 -q -p no:cacheprovider")

    def loaded_up_to(self, mark: str) -> bool:
        """Say whether `make status` shows this high-water mark of the API; none, where none is kept."""
        found = re.findall(r"load-events/events: loaded up to (\S+)", self.make("status"))
        return found == ([mark] if self.marks else [])

    def prove(self, flow: str) -> None:
        """Kill a flow in `make prove`, which has tests of its own."""
        said = self.make("prove", f"FLOW={flow}", "KILLS=2")
        assert "Nothing was lost, doubled or different." in said

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a program in the project, in a session of its own."""
        log = (self.project.parent / "log").open("a")
        options: dict[str, Any] = {"stdout": log, "stderr": log, "text": True, "start_new_session": True}
        return subprocess.Popen(list(arguments), cwd=self.project, env=self.environment, **options)

    def folder(self, name: str, first: int = 0) -> Path:
        """Write many files for a flow, with three records each; one record of each file comes again in the next."""
        folder = self.project.parent / f"{name}-{first}"
        folder.mkdir()
        for number in range(first, first + FILES):
            time_of_change = f"2026-01-01T{number // 60:02}:{number % 60:02}:00Z"
            lines = [f"{number * 2 + more + 1},{name} {more},{number}.{more}0,{time_of_change}" for more in range(3)]
            (folder / f"{number:04}.csv").write_text("\n".join(["id,name,amount,updated_at", *lines]) + "\n")
        return folder

    def rows(self, name: str) -> dict[str, list[str]]:
        """Return the rows of a table by key."""
        found: dict[str, list[str]] = json.loads(
            self.run(sys.executable, "-c", ROWS.format(package=self.package), name).splitlines()[-1]
        )
        return found

    def assert_loaded(self, name: str, *folders: Path) -> None:
        """The table has just what the files have, the newest record of each key, beside the sample's."""
        if not self.database:
            return
        expected: dict[str, list[str]] = {}
        newest: dict[str, str] = {}
        samples = [self.project / "data" / name] if ALL else []
        for path in (path for folder in (*samples, *folders) for path in folder.glob("*.csv")):
            with path.open(newline="") as file:
                for row in csv.DictReader(file):
                    if row["updated_at"] >= newest.get(row["id"], ""):
                        newest[row["id"]] = row["updated_at"]
                        expected[row["id"]] = [row["name"], row["amount"]]
        assert self.rows(name) == expected

    @contextmanager
    def slow(self, name: str, function: str = "read") -> Iterator[Path]:
        """Have a flow take long, and yield the file that grows with each chunk that a function of its source reads."""
        source = self.project / "src" / self.package / "flows" / name / "source.py"
        text = source.read_text()
        seen = self.project / "seen"
        seen.write_text("")
        source.write_text(text + SLOW.replace("WHOLE", function))
        yield seen
        source.write_text(text)
        seen.unlink()

    def kill(self, name: str, folder: Path) -> None:
        """Run a flow over files, and kill it when it has read a quarter of so many chunks as `folder` writes files."""
        with self.slow(name) as seen:
            run = self.start(sys.executable, "-m", self.package, "run", f"load-{name}", "--folder", str(folder))
            wait(lambda: len(seen.read_text()) > FILES // 4 or run.poll() is not None)
            os.killpg(run.pid, signal.SIGKILL)
            assert run.wait() == -signal.SIGKILL, (self.project.parent / "log").read_text()


def wait(happens: Callable[[], Any], instead: Callable[[], str] = lambda: "nothing") -> None:
    """Wait for something; `instead` says what there is where it does not happen."""
    deadline = time.monotonic() + TIMEOUT
    while not happens():
        assert time.monotonic() < deadline, f"it does not happen; there is {instead()}"
        time.sleep(0.1)


@contextmanager
def places(project: Path, environment: dict[str, str], variant: Answers) -> Iterator[dict[str, str]]:
    """Yield an environment with a database and a store, where the project has them on servers."""
    servers = ["sink"] if variant.get("upsert") == "postgres" else []
    servers += ["store"] if variant.get("result_storage", "local") != "local" else []
    if not servers:
        yield environment
        return
    beside = [part for server in servers for part in (sys.executable, "-m", f"tests.support.{server}")]
    file = project.parent / "environment"
    hold = ["sh", "-c", 'env -0 > "$1.part" && mv "$1.part" "$1"; read -r _', "sh", str(file)]
    here = {**environment, "PYTHONPATH": path_of(project)}
    with subprocess.Popen([*beside, *hold], cwd=project, env=here, stdin=subprocess.PIPE) as process:
        wait(lambda: file.exists() or process.poll() is not None)
        if not file.exists():
            pytest.skip(f"no server for {' and '.join(servers)} can be had here")
        pairs = (entry.partition("=") for entry in file.read_text().split("\0") if entry)
        yield {name: value for name, _, value in pairs}
        assert process.stdin
        process.stdin.close()


def snapshot(project: Path) -> dict[str, bytes]:
    """Return the template's part of a project."""
    (package,) = (project / "src").iterdir()
    folders = [package / "durable", project / "tests" / "durable", project / "tests" / "support"]
    files = (path for folder in folders for path in folder.rglob("*") if "__pycache__" not in path.parts)
    return {str(path.relative_to(project)): path.read_bytes() for path in files if path.is_file()}


@pytest.mark.rotating
@pytest.mark.slow
@pytest.mark.parametrize("variant", each(walked()))
def test_a_stranger_writes_two_flows_kills_resumes_and_deploys_them(
    bake: Bake, environment: dict[str, str], api: str, types_cache: Path, variant: Answers
) -> None:
    slug = f"things-{os.getpid()}-{walked().index(variant)}"
    baked = bake(**variant, project_name="Things", project_slug=slug, package_name="things")
    # Not in pytest's folder, which is closed to the user that PostgreSQL runs as.
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    project = shutil.copytree(baked, folder / slug)
    ours = {**environment, "PREFECT_API_URL": api, "PREFECT_HOME": str(folder / "prefect")}
    ours["MYPY_CACHE_DIR"] = str(types_cache)
    before = snapshot(project)
    with places(project, ours, variant) as given:
        go(Walk(project, variant, given), api)
    assert snapshot(project) == before, "a file of the template's rooms was touched"
    shutil.rmtree(folder)


@pytest.mark.rotating
@pytest.mark.slow
@pytest.mark.parametrize("variant", each([{}, {"upsert": "none", "checkpoint": "file"}]))
def test_killed_load_of_a_large_file_goes_on_within_it(
    bake: Bake, environment: dict[str, str], tmp_path: Path, variant: Answers
) -> None:
    walk = Walk(shutil.copytree(bake(**variant, example="none"), tmp_path / "project"), variant, environment)
    walk.make("flow", "NAME=orders")
    shutil.rmtree(walk.project / "data" / "orders")
    source = walk.project / "src" / walk.package / "flows" / "orders" / "source.py"
    source.write_text(source.read_text().replace("csv_parts(path)", "csv_parts(path, size=150)"))
    folder = walk.folder("orders")
    header, *_ = (folder / "0000.csv").read_text().splitlines(keepends=True)
    records = [file.read_text().removeprefix(header) for file in sorted(folder.iterdir())]
    for file in folder.iterdir():
        file.unlink()
    (folder / "large.csv").write_text("".join([header, *records]))
    walk.kill("orders", folder)
    said = walk.make("run", "FLOW=load-orders", f"ARGS=--folder {folder}")
    (counts,) = re.findall(r"load-orders/orders: (\d+) chunks, (\d+) skipped, (\d+) done", said)
    chunks, skipped, done = map(int, counts)
    assert skipped > 0, "parts that were done before the kill are not done again"
    assert skipped + done == chunks > FILES // 2
    walk.assert_loaded("orders", folder)


def test_name_that_the_code_of_a_flow_uses_is_refused(bake: Bake, environment: dict[str, str], tmp_path: Path) -> None:
    walk = Walk(shutil.copytree(bake(example="none"), tmp_path / "project"), {"example": "none"}, environment)
    names = ["select", "files", "read", "columns", "upsert", "database", "input", "class"]
    assert json.loads(walk.run(sys.executable, "-c", REFUSED.format(package=walk.package, names=names))) == names


@pytest.mark.rotating
@pytest.mark.slow
@pytest.mark.parametrize("variant", each(ACQUITTED))
def test_the_example_and_what_make_flow_writes_are_acquitted(
    bake: Bake, environment: dict[str, str], tmp_path: Path, variant: Answers
) -> None:
    walk = Walk(shutil.copytree(bake(**variant), tmp_path / "project"), variant, environment)
    for arguments in ("NAME=orders",), ("NAME=events", "FROM=api"):
        walk.make("flow", *arguments)
    said = walk.make("prove", f"KILLS={50 if ALL else 2}", timeout=7200 if ALL else TIMEOUT)
    assert said.count("Nothing was lost, doubled or different.") == 3


def go(walk: Walk, api: str) -> None:
    if ALL:
        # There is no flow, and that is said.
        assert "make flow NAME=orders" in walk.make("run", code=2)
    for name in ("orders", "prices"):
        assert f"make run FLOW=load-{name}" in walk.make("flow", f"NAME={name}")
    if ALL:
        assert "there is a flow load-orders" in walk.make("flow", "NAME=orders", code=2)
        walk.make("flow", "NAME=", code=2)
        walk.check()
        assert "load-orders, load-prices" in walk.make("run", code=2)

    # Both run; then both are killed in the middle, and resumed by one command, each by its own flow.
    folders = {}
    for name in ("orders", "prices") if ALL else ():
        assert f"load-{name}/{name}: 2 chunks, 0 skipped, 2 done" in walk.make("run", f"FLOW=load-{name}")
        walk.assert_loaded(name)
    for name in ("orders", "prices"):
        folders[name] = walk.folder(name)
        walk.kill(name, folders[name])
    assert walk.make("status").count("was killed") == 2
    said = walk.make("resume")
    for name in ("orders", "prices"):
        (counts,) = re.findall(rf"load-{name}/{name}: (\d+) chunks, (\d+) skipped, (\d+) done", said)
        chunks, skipped, done = map(int, counts)
        assert (chunks, skipped + done) == (FILES, FILES)
        assert skipped > 0, "what was done before the kill is not done again"
        walk.assert_loaded(name, folders[name])
    if ALL:
        assert "no run was killed" in walk.make("status")
        walk.prove("load-orders")
    add_a_column(walk, folders["prices"])
    if ALL:
        from_an_api(walk)
    deploy(walk, api, folders)

    # One flow is removed by hand.
    shutil.rmtree(walk.project / "src" / walk.package / "flows" / "prices")
    shutil.rmtree(walk.project / "data" / "prices")
    (walk.project / "tests" / "flows" / "test_prices.py").unlink()
    yaml = walk.project / "prefect.yaml"
    yaml.write_text(re.sub(r"  - name: load-prices\n.*?(?=^  - name: |\Z)", "", yaml.read_text(), flags=re.M | re.S))
    if ALL or walk.variant == walked()[0]:
        walk.check()
    if walk.database:
        assert "there is a table prices" in walk.make("flow", "NAME=prices", code=2)
    assert "0 chunks" not in walk.make("run", "FLOW=load-orders")


def from_an_api(walk: Walk) -> None:
    """Write a flow over an API, run it, kill it in the middle, and resume it: no page is fetched again."""
    assert "make run FLOW=load-events" in walk.make("flow", "NAME=events", "FROM=api")
    walk.check()
    walk.prove("load-events")
    said = walk.make("run", "FLOW=load-events")
    assert "THINGS_EVENTS_API_URL is not set: a sample API of this process answers" in said
    assert "load-events/events: 3 chunks, 0 skipped, 3 done" in said
    # The last record comes again, for another one may have its timestamp; without marks, all of them do.
    again = 1 if walk.marks else 3
    assert f"load-events/events: {again} chunks, 0 skipped, {again} done" in walk.make("run", "FLOW=load-events")
    assert walk.loaded_up_to("2001-01-02T10:00:00+00:00")

    file = walk.project / "src" / walk.package / "flows" / "events" / "sample_api.py"
    specification = importlib.util.spec_from_file_location("sample_api", file)
    assert specification
    assert specification.loader
    sample = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(sample)
    records = [
        {"id": number, "name": "event", "amount": f"{number}.50", "updated_at": f"2026-01-03T10:{number // 2:02}:00Z"}
        for number in range(1, 2 * FILES + 1)
    ]
    with sample.served(records) as service:
        walk.environment["THINGS_EVENTS_API_URL"] = service.url
        with walk.slow("events", "check") as seen:
            run = walk.start(sys.executable, "-m", walk.package, "run", "load-events")
            wait(lambda: len(seen.read_text()) > FILES // 4 or run.poll() is not None)
            os.killpg(run.pid, signal.SIGKILL)
            assert run.wait() == -signal.SIGKILL, (walk.project.parent / "log").read_text()
        assert len(service.requests) == FILES
        assert walk.loaded_up_to("2001-01-02T10:00:00+00:00"), "the mark waits for all pages"
        said = walk.make("resume")
        (counts,) = re.findall(r"load-events/events: (\d+) chunks, (\d+) skipped, (\d+) done", said)
        chunks, skipped, done = map(int, counts)
        assert (chunks, skipped + done) == (FILES, FILES)
        assert skipped > 0, "what was done before the kill is not done again"
        assert len(service.requests) == FILES, "a page that was fetched is not fetched again"
        assert walk.loaded_up_to("2026-01-03T10:40:00+00:00")
        if walk.database:
            assert walk.rows("events") == {str(record["id"]): ["event", record["amount"]] for record in records}
        backfill(walk, service)
    del walk.environment["THINGS_EVENTS_API_URL"]


def backfill(walk: Walk, service: Any) -> None:
    """Load again what was corrected in the past; kill that in the middle, and call it again."""
    for record in service.records:
        record["name"] = "corrected"
        # A correction that the API does not tell of would not be newer.
        record["updated_at"] = record["updated_at"].replace(":00Z", ":30Z")
    asked = ["FLOW=load-events", "SINCE=2026-01-03T10:00", "UNTIL=2026-01-03T10:41", "WINDOW=1m"]
    options = ["--since=2026-01-03T10:00", "--until=2026-01-03T10:41", "--window=1m"]
    with walk.slow("events", "check") as seen:
        run = walk.start(sys.executable, "-m", walk.package, "backfill", "load-events", *options)
        wait(lambda: len(seen.read_text()) > FILES // 4 or run.poll() is not None)
        os.killpg(run.pid, signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL, (walk.project.parent / "log").read_text()
    said = walk.make("backfill", *asked)
    (counts,) = re.findall(r"load-events/events-backfill: (\d+) chunks, (\d+) skipped, (\d+) done", said)
    chunks, skipped, done = map(int, counts)
    assert (chunks, skipped + done) == (FILES + 1, FILES + 1)
    assert skipped > 0, "windows that were done before the kill are not done again"
    assert walk.loaded_up_to("2026-01-03T10:40:00+00:00"), "the mark stays"
    if walk.database:
        assert {name for name, _ in walk.rows("events").values()} == {"corrected"}
    assert "load-prices takes no backfill" in walk.make("backfill", "FLOW=load-prices", *asked[1:], code=2)
    assert "ends in the future" in walk.make("backfill", *asked[:2], "UNTIL=2999-01-01", "WINDOW=52w", code=2)
    walk.make("resume")


def add_a_column(walk: Walk, folder: Path) -> None:
    """Add a column to the table of one flow; the other's stays."""
    if not walk.database:
        return
    flow = walk.project / "src" / walk.package / "flows" / "prices"
    tables, source = flow / "tables.py", flow / "source.py"
    tables.write_text(
        tables.read_text().replace(
            '    Column("updated_at"', '    Column("note", String(20), server_default="none"),\n    Column("updated_at"'
        )
    )
    if walk.variant.get("upsert") == "duckdb":
        statement = "ALTER TABLE prices ADD COLUMN note VARCHAR DEFAULT 'none'"
        script = f"from {walk.package}.durable import database as d; from sqlalchemy import text"
        walk.run(sys.executable, "-c", f"{script}\nwith d().begin() as c: c.execute(text({statement!r}))")
    else:
        known = set((walk.project / "migrations" / "versions").glob("*.py"))
        walk.make("migration", "M=a note")
        (script_file,) = set((walk.project / "migrations" / "versions").glob("*.py")) - known
        assert "note" in script_file.read_text()
        assert "drop_table" not in script_file.read_text()
        walk.make("setup")
    assert source.exists()
    walk.assert_loaded("prices", folder)
    walk.assert_loaded("orders", folder.with_name(folder.name.replace("prices", "orders")))


def deploy(walk: Walk, api: str, folders: dict[str, Path]) -> None:
    """Deploy all; a run in a worker is killed, crashed and resumed."""
    from prefect import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    walk.make("deploy")
    more = walk.folder("orders", FILES)
    with temporary_settings({PREFECT_API_URL: api}), get_client(sync_client=True) as client:
        names = ["orders", "prices", *(["events"] if ALL else [])]
        for name in names:
            assert client.read_deployment_by_name(f"load-{name}/load-{name}").tags == [walk.project.name]
        deployment = client.read_deployment_by_name("load-orders/load-orders")
        walk.environment["PREFECT_WORKER_QUERY_SECONDS"] = "1"
        there = f"BIN={Path(sys.executable).parent}"
        worker = walk.start("make", "--old-file=.venv/.ready", there, "worker")

        def state(flow_run_id: UUID) -> str | None:
            return client.read_flow_run(flow_run_id).state_name

        def story() -> str:
            states = client.read_flow_run_states(flow_run.id)
            log = (walk.project.parent / "log").read_text()[-6000:]
            return f"{[(state.name, state.timestamp.isoformat(), state.message) for state in states]}\n{log}"

        try:
            with walk.slow("orders") as seen:
                parameters = {"folder": str(more)}
                flow_run = client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
                wait(lambda: len(seen.read_text()) > FILES // 4)
                place = client.read_flow_run(flow_run.id).infrastructure_pid
                assert place
                os.killpg(int(place.rpartition(":")[2]), signal.SIGKILL)
                wait(lambda: state(flow_run.id) == "Crashed", story)
            said = walk.make("resume")
            assert "is scheduled; a worker will resume it" in said
            wait(lambda: state(flow_run.id) == "Completed", story)
            crashed = [str(state.message) for state in client.read_flow_run_states(flow_run.id) if state.is_crashed()]
            # What `make resume` waits for: a worker reports again after the hooks of a crash.
            assert any(message.startswith("Process exited with status code") for message in crashed), story()
        finally:
            os.killpg(worker.pid, signal.SIGTERM)
            worker.wait(60)
            # Where tests run in the background of a shell, Prefect's worker does not end by SIGTERM.
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
        for name in names:
            client.delete_deployment(client.read_deployment_by_name(f"load-{name}/load-{name}").id)
        client.delete_work_pool(walk.project.name)
    walk.assert_loaded("orders", folders["orders"], more)
