"""`make switch` changes an answer later: what cannot work is said before anything is touched, a dry run shows what
would change, owners' edits are kept, and rows arrive in the new database unchanged or not at all.
"""

import functools
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import history
import psycopg
import pytest
from conftest import Bake
from history import git
from projects import path_of, said_by, snapshot
from test_own_flow import places
from test_update_own_flows import owned
from test_updates import commit, conflicts, linked
from variants import Answers, only_all, typed

Create = Callable[..., "Project"]
TIMEOUT = 300
"""Seconds for a command."""

UV = """#!/bin/sh
case "$1 $2" in
    "sync --quiet") ;;
    "tool run") while test "$1" != cruft; do shift; done; shift; exec {python} -m cruft "$@" ;;
    *) exit 9 ;;
esac
"""
"""It runs cruft, and installs nothing: the environment of these tests has the packages of all answers."""


class Project:
    """A project with an environment that has all packages."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        programs = folder / ".venv" / "bin"
        programs.mkdir(parents=True)
        for program in ("python", "pre-commit"):
            ours = sys.executable if program == "python" else shutil.which("true")
            (programs / program).write_text(f'#!/bin/sh\nexec {ours} "$@"\n')
        (programs / "uv").write_text(UV.format(python=sys.executable))
        for program in programs.iterdir():
            program.chmod(0o755)
        (folder / ".venv" / ".ready").touch()
        self.environment = {
            **environment,
            **history.GIT,
            "PYTHONPATH": path_of(folder),
            "PATH": f"{programs}{os.pathsep}{environment['PATH']}",
        }

    def run(self, *command: object, code: int = 0, **variables: str) -> str:
        """Run a program in the project; return what it says, errors included."""
        return said_by(self.folder, {**self.environment, **variables}, *command, code=code, timeout=TIMEOUT)

    def python(self, *arguments: object, code: int = 0, **variables: str) -> str:
        return self.run(sys.executable, *arguments, code=code, **variables)

    def make(self, *arguments: str, code: int = 0) -> str:
        return self.run("make", "--no-print-directory", *arguments, code=code)

    def state(self) -> dict[str, tuple[int, str, bytes]]:
        """Return the time, mode and content of each file."""
        times = {path.relative_to(self.folder).as_posix(): path.stat().st_mtime_ns for path in self.files()}
        return {name: (times[name], *found) for name, found in snapshot(self.folder).items() if name in times}

    def files(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file() and ".venv" not in path.parts]

    def fresh(self) -> dict[str, tuple[str, bytes]]:
        """Return mode and content of what is not of the environment."""
        return {name: found for name, found in snapshot(self.folder).items() if not name.startswith(".venv")}


@pytest.fixture(scope="module")
def created(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make a project of the template as it is, in a git repository of its own; once, to be copied."""

    @functools.cache
    def created(given: str) -> Path:
        return linked(repository, tmp_path_factory.mktemp("created"), given)

    return created


@pytest.fixture
def create(created: Callable[[str], Path], environment: dict[str, str]) -> Iterator[Create]:
    # Not in pytest's folder, which is closed to the user that PostgreSQL runs as.
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)

    def create(**answers: str) -> Project:
        made = shutil.copytree(created(json.dumps(typed(answers))), folder / "durable-flights")
        return Project(made, {**environment, "PREFECT_HOME": str(folder / "prefect")})

    yield create
    shutil.rmtree(folder)


# Files


@pytest.mark.rotating
@pytest.mark.parametrize(
    ("before", "switched"),
    [
        ({}, {"upsert": "postgres"}),
        ({"upsert": "duckdb"}, {"upsert": "postgres"}),
        ({}, {"checkpoint": "storage", "result_storage": "s3", "task_runner": "dask", "ci": "gitlab"}),
        ({"upsert": "postgres"}, {"upsert": "sqlite", "deployment": "docker", "license": "Apache-2.0"}),
        ({"example": "none"}, {"upsert": "none", "checkpoint": "file", "retry_policy": "none", "cache_key": "none"}),
    ],
    ids=lambda answers: "+".join(answers.values()) or "defaults",
)
def test_an_untouched_project_becomes_the_one_of_the_new_answers(
    create: Create, bake: Bake, before: Answers, switched: Answers
) -> None:
    project = create(**before)
    head = git(project.folder, "rev-parse", "HEAD")
    pairs = [f"{prompt}={answer}" for prompt, answer in switched.items()]
    said = project.make("switch", *pairs)
    fresh = snapshot(bake(**before | switched))
    ours = {"migrations/versions", "migrations/versions/.gitkeep", "migrations"}
    assert {name: found for name, found in project.fresh().items() if name not in ours} == {
        name: found for name, found in fresh.items() if name not in ours
    }
    assert git(project.folder, "rev-parse", "HEAD") == head, "nothing is committed"
    assert conflicts(project.folder) == []
    for prompt, answer in switched.items():
        assert f" -> {answer}\n" in said
        assert f"{prompt}: " in said
    commit(project.folder)
    assert f"{pairs[0]} is the answer already" in project.make("switch", pairs[0], code=2)


def test_a_dry_run_touches_nothing(create: Create) -> None:
    project = create()
    before = project.state()
    said = project.make("switch", "upsert=postgres", "DRY=1")
    assert project.state() == before
    assert git(project.folder, "status", "--porcelain") == ""
    for line in ("added   compose.yaml", "removed tests/durable/test_full_disk.py", "changed pyproject.toml"):
        assert f"{line}\n" in said
    assert "files changed, " in said
    assert "+psycopg[binary]" in said
    assert said.endswith("nothing was changed; to do it: make switch upsert=postgres\n")
    assert project.make("switch", "upsert=postgres", "DRY=1", "DATA=1").endswith("make switch upsert=postgres DATA=1\n")
    assert project.state() == before


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("upsert=postgers", "upsert has no answer 'postgers'; did you mean postgres?\n"),
        ("upsert=none", "checkpoint=database keeps checkpoints in the database that upsert writes to"),
        ("upsert=duckdb task_runner=dask deployment=kubernetes", "and upsert=duckdb keeps the database there"),
    ],
)
def test_what_cannot_work_is_said_first(create: Create, given: str, said: str) -> None:
    """The others are tried in the project's own tests, without cruft."""
    project = create()
    before = project.state()
    out = project.make("switch", *given.split(), code=2)
    assert said in out
    assert "Traceback" not in out
    assert project.state() == before


@pytest.mark.rotating
def test_edits_of_owners_are_kept_and_conflicts_are_named(create: Create) -> None:
    project = create()
    project.python("-m", "durable_flights", "flow", "orders")
    for file, old, new in (
        ("README.md", "## Documentation\n", "## On call\n\nAsk us.\n\n## Documentation\n"),
        ("pyproject.toml", '    "uvicorn>=0.34,<1",\n', '    "uvicorn>=0.34,<1",\n    "xlsxwriter>=3,<4",\n'),
        ("src/durable_flights/flows/flights/source.py", "2400", "2359"),
    ):
        text = (project.folder / file).read_text()
        assert old in text
        (project.folder / file).write_text(text.replace(old, new, 1))
    commit(project.folder)
    ours = owned(project.folder)
    assert any("orders" in name for name in ours)
    project.make("switch", "upsert=postgres")
    assert owned(project.folder) == ours
    assert "## On call" in (project.folder / "README.md").read_text()
    assert {"xlsxwriter", "psycopg"} <= {
        line.strip(' ",').partition(">")[0].partition("[")[0]
        for line in (project.folder / "pyproject.toml").read_text().splitlines()
    }

    git(project.folder, "reset", "--quiet", "--hard")
    assert git(project.folder, "status", "--porcelain") == "", "that undoes it"
    makefile = project.folder / "Makefile"
    makefile.write_text(makefile.read_text().replace("BESIDE := $(BIN)/python", "BESIDE := nice $(BIN)/python"))
    commit(project.folder)
    assert "would conflict with your edits: Makefile" in project.make("switch", "upsert=postgres", "DRY=1")
    assert git(project.folder, "status", "--porcelain") == ""
    out = project.make("switch", "upsert=postgres", code=2)
    assert "\nconflict: Makefile: between <<<<<<< and >>>>>>>" in out
    assert "Error 1\n" in out
    assert conflicts(project.folder) == ["Makefile"]


# Rows

TABLES = '''"""Things with values that databases keep in ways of their own."""

from sqlalchemy import JSON, BigInteger, Boolean, Column, DateTime, Double, Integer, LargeBinary, Sequence, String
from sqlalchemy import Table, Text

from ...durable import ExactNumeric, UtcDateTime, metadata

things = Table(
    "things",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("amount", ExactNumeric(DIGITS, 10)),
    Column("ratio", Double),
    Column("name", String(50), nullable=False),
    Column("note", Text),
    Column("changed_at", UtcDateTime),
    Column("local", DateTime),
    Column("doc", JSON),
    Column("raw", LargeBinary),
    Column("flag", Boolean),
)
numbered = Table("numbered", metadata, Column("number", Integer, KEYprimary_key=True), Column("text", String(9)))
'''
SEED = """
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

from durable_flights.durable import claims, discovery, high_water, outbox, upsert, upserts
from durable_flights.durable.names import next_load

discovery.flows()
upserts.prepare()

from durable_flights.flows.things.tables import numbered, things

east = timezone(timedelta(hours=5, minutes=45))
rows = [
    (2**63 - 1, Decimal("99999999.0123456789"), 1.7976931348623157e308, "Zo\\u00eb \\U0001f98a", "",
     datetime(2026, 3, 29, 2, 30, 0, 999999, east), datetime(2026, 3, 29, 2, 30, 0, 1),
     {"b": [1, 2.5, None, True], "a": {"\\u00e9": "\\U0001f98a"}}, b"\\0\\xff", True),
    (-(2**63), Decimal("-0.0000000001"), 5e-324, "a\\"b'c\\\\d\\n\\t{},NULL", None,
     datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 31), [], b"", False),
    (0, Decimal("-0"), -0.0, "NULL", "NULL", None, None, "text", None, None),
    (1, None, None, "\\\\N", " ", None, None, None, None, None),
]
with upserts.transaction() as connection:
    upsert(connection, things, [dict(zip(things.c.keys(), row, strict=True)) for row in rows])
    for text in ("one", "two", "three"):
        connection.execute(numbered.insert().values(text=text))
    sent = [outbox.effect("load-things/things", "https://example.com/", f"item {n}", {"n": n}, "key") for n in range(3)]
    outbox.write(connection, sent)
    claims.claim(connection, "load-things/things", ["it's", "Zo\\u00eb \\U0001f98a"])
high_water.read("load-things/things")
high_water.change("load-things/things", lambda mark: next_load("2026-01-31T10:00:00+00:00"))
"""
THINGS = [
    [str(-(2**63)), "-0.0000000001", "5e-324", "a\"b'c\\d\n\t{},NULL", None, "0001-01-02 00:00:00+00",
     "9999-12-31 00:00:00", [], "", "false"],
    ["0", "0.0000000000", "-0", "NULL", "NULL", None, None, "text", None, None],
    ["1", None, None, "\\N", " ", None, None, None, None, None],
    [str(2**63 - 1), "99999999.0123456789", "1.7976931348623157e+308", "Zoë 🦊", "", "2026-03-28 20:45:00.999999+00",
     "2026-03-29 02:30:00.000001", {"b": [1, 2.5, None, True], "a": {"é": "🦊"}}, "00ff", "true"],
]  # fmt: skip
"""What PostgreSQL is to say of these rows, by key."""
ZERO = ["0", "0.0000000000", "0", *THINGS[1][3:]]
COLUMNS = """id::text, amount::text, ratio::text, name, note, changed_at::text, local::text, doc::text,
    encode(raw, 'hex'), flag::text"""
PLAIN = {
    "steps": "job, step",
    "jobs": "job, total",
    "high_water_marks": "source, value, load",
    "outbox_effects": "id, job, item, key, url, payload",
    "claimed_items": "job, item",
    "epochs": "epoch",
    "numbered": "number, text",
    "orders": "id, name",
    "flights": "carrier, flight, origin",
}
"""Tables and columns that any driver reads alike."""


def plain(execute: Callable[[str], Any]) -> dict[str, list[tuple[Any, ...]]]:
    """Read rows with a driver alone, nothing of the project's."""
    return {
        name: sorted(map(tuple, execute(f"SELECT {columns} FROM {name}").fetchall()), key=repr)
        for name, columns in PLAIN.items()
    }


def plain_of_file(file: Path) -> dict[str, list[tuple[Any, ...]]]:
    if file.suffix == ".db":
        with sqlite3.connect(file) as connection:
            return plain(connection.execute)
    with duckdb.connect(file, read_only=True) as connection:
        return plain(connection.execute)


def connect(environment: dict[str, str]) -> psycopg.Connection[Any]:
    url = environment["DURABLE_FLIGHTS_DATABASE_URL"].replace("postgresql+psycopg", "postgresql")
    return psycopg.connect(url, options="-c TimeZone=UTC")


def things(connection: psycopg.Connection[Any]) -> list[list[Any]]:
    rows = connection.execute(f"SELECT {COLUMNS} FROM things ORDER BY id").fetchall()  # type: ignore[arg-type]
    return [[None if value is None else json.loads(value) if place == 7 else value for place, value in enumerate(row)]
            for row in rows]  # fmt: skip


def with_rows(project: Project, upsert: str) -> Path:
    """Write two flows and tables with awkward rows; return the file of the database."""
    folder = project.folder / "src/durable_flights/flows/things"
    folder.mkdir()
    (folder / "__init__.py").touch()
    text = TABLES.replace("DIGITS", "38" if upsert == "duckdb" else "18")
    key = 'Sequence("numbered_number"), ' if upsert == "duckdb" else ""
    (folder / "tables.py").write_text(text.replace("KEY", key))
    project.python("-m", "durable_flights", "flow", "orders")
    project.python("-c", SEED)
    commit(project.folder)
    return project.folder / "var" / ("database.duckdb" if upsert == "duckdb" else "database.db")


@pytest.mark.rotating
@pytest.mark.slow
@pytest.mark.parametrize("upsert", ["sqlite", pytest.param("duckdb", marks=only_all)])
def test_rows_are_carried_over_and_the_next_run_finds_all_done(create: Create, upsert: str) -> None:
    """By one command, to a server that it starts on this machine."""
    project = create(upsert=upsert)
    file = with_rows(project, upsert)
    flows = {"load-orders": 2} | ({"load-flights": 31} if upsert == "sqlite" else {})
    for flow, chunks in flows.items():
        assert f"{chunks} chunks, 0 skipped, {chunks} done" in project.make("run", f"FLOW={flow}")
    before = plain_of_file(file)
    assert len(before["steps"]) == sum(flows.values())
    said = project.make("switch", "upsert=postgres", "DATA=1")
    assert "things: 4 rows, digest " in said
    assert f"{upsert}:///{file}" in said
    assert plain_of_file(file) == before, "the old database stays"
    commit(project.folder)
    with places(project.folder, project.environment, {"upsert": "postgres"}) as given, connect(given) as connection:
        assert plain(connection.execute) == before
        # SQLite has no zero below zero.
        assert things(connection) == ([*THINGS[:1], ZERO, *THINGS[2:]] if upsert == "sqlite" else THINGS)
        (nothing,) = connection.execute("SELECT id FROM things WHERE doc IS NULL").fetchall()
        assert nothing == (1,)
        # With a sequence of its own, or with one of the column.
        following = "nextval('numbered_number')" if upsert == "duckdb" else "DEFAULT"
        insert = f"INSERT INTO numbered VALUES ({following}, 'four') RETURNING number"
        assert connection.execute(insert).fetchone() == (4,)  # type: ignore[arg-type]
    for flow, chunks in flows.items():
        again = project.make("run", f"FLOW={flow}")
        assert f"{chunks} chunks, {chunks} skipped, 0 done" in again
        assert "no run was started" in again


@pytest.mark.rotating
@pytest.mark.slow
def test_rows_arrive_as_they_were_or_not_at_all(create: Create) -> None:
    project = create()
    file = with_rows(project, "sqlite")
    before = plain_of_file(file)
    carry = (sys.executable, "-m", "durable_flights", "carry")
    command = project.make("--dry-run", "switch", "upsert=postgres", "DATA=1").replace("\\\n", "").splitlines()[0]
    project.run("sh", "-c", command)
    with places(project.folder, project.environment, {"upsert": "postgres"}) as given:
        project.environment = given
        project.python("-m", "durable_flights", "setup")
        with connect(given) as connection:
            connection.autocommit = True

            def nothing_arrived() -> None:
                counts = {name: len(rows) for name, rows in plain(connection.execute).items() if rows}
                assert counts == {"epochs": 1}
                assert things(connection) == []

            # Killed while it writes the tables.
            with connect(given) as other, subprocess.Popen(carry, cwd=project.folder, env=given) as process:
                other.execute("LOCK TABLE things IN SHARE MODE")
                waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
                deadline = time.monotonic() + TIMEOUT
                while connection.execute(waiting).fetchone() == (0,):
                    assert process.poll() is None
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
                process.kill()
                assert process.wait() == -signal.SIGKILL
                other.rollback()
            deadline = time.monotonic() + TIMEOUT
            while connection.execute(waiting).fetchone() != (0,):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            nothing_arrived()

            # A database that changes a value.
            connection.execute(
                "CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN NEW.note = NULLIF(NEW.note, ''); RETURN NEW; END $$"
            )
            connection.execute("CREATE TRIGGER change BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION change()")
            assert "table things did not arrive unchanged: values differ" in project.run(*carry, code=2)
            nothing_arrived()
            connection.execute("DROP TRIGGER change ON things")

            # A table that is not empty.
            connection.execute("INSERT INTO numbered VALUES (7, 'seven')")
            assert "table numbered in postgresql" in project.run(*carry, code=2)
            connection.execute("DELETE FROM numbered")
            nothing_arrived()

            project.run(*carry)
            assert plain(connection.execute) == before
            assert things(connection) == [*THINGS[:1], ZERO, *THINGS[2:]]
            assert "no rows are waiting" in project.run(*carry, code=2)
