"""Migrations: the tables of a database that holds rows follow those of the flows, and no migration drops any.

They are made in another folder than the project's, for one more flow module, with a table of its own.
"""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from {{ cookiecutter.package_name }}.durable import checkpoints, claims, discovery, migrations, upserts
from {{ cookiecutter.package_name }}.durable.settings import ROOT
from {{ cookiecutter.package_name }}.durable.steps import checkpoint
from {{ cookiecutter.package_name }}.durable.upserts import database

from tests.support import sink
from tests.support.processes import Child

MODULE = """
from importlib import import_module

from sqlalchemy import JSON, Column, Integer, String, Table
from sqlalchemy.types import TypeDecorator, UserDefinedType

from {{ cookiecutter.package_name }}.durable import ExactNumeric, UtcDateTime, metadata


class Json(TypeDecorator):
    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect):
        return import_module(f"sqlalchemy.dialects.{dialect.name}").JSON()


class Place(UserDefinedType):
    cache_ok = True

    def get_col_spec(self, **options):
        return "TEXT"


made_up = Table("made_up", metadata, Column("id", Integer, primary_key=True), %s)
"""
KINDS = {"changed_at": "UtcDateTime", "exact": "ExactNumeric(12, 2)", "document": "Json", "place": "Place"}
OLD = 'Column("value", Integer)'
FLOW = """

from {{ cookiecutter.package_name }}.durable import durable_flow


@durable_flow(name="load-made-up")
def load_made_up():
    pass
"""
NEW = ", ".join([OLD, *(f'Column("{name}", {kind})' for name, kind in KINDS.items())])
"""Its columns."""

PROCESS = """
import os
import sys
from pathlib import Path

from {{ cookiecutter.package_name }} import flows
from {{ cookiecutter.package_name }}.durable import checkpoints, discovery, migrations, upserts
from {{ cookiecutter.package_name }}.durable.cli import app, main

folder = Path(__file__).parent
flows.__path__.append(str(folder / "flows"))
migrations.ROOT, migrations.FOLDER = folder, folder / "migrations"
os.chdir(folder)
sys.stderr = sys.stdout
"""
PREPARE = "discovery.flows()\nupserts.prepare(upgrade=True)"
MIGRATION = "from alembic.config import main\nmain(['--quiet', 'revision', '--autogenerate', '-m', 'made up'])"
DOWN = "from alembic.config import main\nmain(['--quiet', 'downgrade', '-1'])"
DROPPED = "All rows of made_up will be dropped"
NOTHING = "The database has the tables of the code: no migration is written.\n"
ADD = "discovery.flows()\nupserts.add_tables(['made_up'])"
SETUP = "sys.argv[1:] = ['setup']\nmain()"
CHECK = "@app.command\ndef check():\n    discovery.flows()\n    upserts.prepare()\nsys.argv[1:] = ['check']\nmain()"
"""What a run does first."""
DOCTOR = "sys.argv[1:] = ['doctor']\nmain()"


class Project:
    """The project's migrations in another folder, and flow modules that it has beside its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.module = folder / "flows" / "made_up.py"
        self.versions = folder / "migrations" / "versions"
        shutil.copytree(ROOT / "migrations", folder / "migrations")
        shutil.copy(ROOT / "alembic.ini", folder)
        self.module.parent.mkdir()

    def do(self, code: str) -> tuple[int | None, str]:
        """Run a process that has imported nothing of a flow yet; return its exit code and what it has printed."""
        sink.release()
        script = self.folder / "process.py"
        script.write_text(PROCESS + code)
        return Child(script).end()

    def prepare(self) -> None:
        """Create the tables in a new database, or apply the migrations that it does not have."""
        assert self.do(PREPARE) == (0, "")

    def fill(self, columns: str) -> None:
        """Write the module, and create its table with a row."""
        self.module.write_text(MODULE % columns)
        self.prepare()
        execute("INSERT INTO made_up (id, value) VALUES (1, 7)")

    def autogenerate(self, *given: str) -> tuple[int | None, str]:
        """Run Alembic with what `make migration` is told; return its exit code and what it has printed."""
        options = "".join(f"'-x', '{each}', " for each in given)
        return self.do(MIGRATION.replace("[", f"[{options}", 1))

    def migration(self, *given: str) -> str:
        """Write the migration from the database to the code; return its text, which is empty where nothing changes."""
        known = set(self.versions.glob("*.py"))
        code, said = self.autogenerate(*given)
        assert code == 0, said
        scripts = set(self.versions.glob("*.py")) - known
        assert said == ("" if scripts else NOTHING)
        return "".join(script.read_text() for script in scripts)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "100% project")


@pytest.fixture
def filled(project: Project) -> Project:
    """With the module, whose table has a row."""
    project.fill(OLD)
    return project


def execute(statement: str) -> None:
    with database().begin() as connection:
        connection.execute(text(statement))


def values() -> list[int]:
    with database().connect() as connection:
        return list(connection.scalars(text("SELECT value FROM made_up")))


def columns(table: str) -> list[str]:
    """The columns of a table; none if it is not there."""
    with database().connect() as connection:
        there = inspect(connection)
        return [column["name"] for column in there.get_columns(table)] if there.has_table(table) else []


@pytest.mark.slow
def test_table_in_a_module_of_its_own_is_kept(filled: Project) -> None:
    assert filled.migration() == ""
    filled.prepare()
    assert values() == [7]


@pytest.mark.slow
def test_table_that_no_flow_has_is_left_alone(filled: Project) -> None:
    execute("CREATE TABLE somebodys (id INTEGER PRIMARY KEY)")
    filled.module.unlink()
    assert filled.migration() == ""
    filled.prepare()
    assert values() == [7]
    assert columns("somebodys") == ["id"]


@pytest.mark.slow
def test_new_column_comes_to_a_database_that_has_rows(filled: Project) -> None:
    filled.module.write_text(MODULE % NEW)
    lacks = "the database lacks " + ", ".join(f"the column made_up.{name}" for name in KINDS)
    assert filled.do(CHECK)[1].startswith(f"{lacks}: apply its migration with `make setup`; if it has none, write")
    written = filled.migration()
    assert all(f"'{name}'" in written for name in KINDS)
    # The import, and the type that the code alone knows.
    assert written.count("{{ cookiecutter.package_name }}.") == 2
    code, said = filled.do(DOCTOR)
    assert code == 1
    assert f"wrong database: {lacks}: apply its migration with `make setup`; " in said
    assert "\n-     jobs: their checkpoints cannot be read; see the lines above\n" in said
    filled.prepare()
    filled.prepare()
    assert columns("made_up") == ["id", "value", *KINDS]
    assert values() == [7]
    assert filled.migration() == ""


@pytest.mark.slow
def test_new_column_without_a_value_for_rows_is_refused(filled: Project) -> None:
    filled.module.write_text(MODULE % f'{OLD}, Column("note", Integer, nullable=False)')
    lack = "rows of made_up would have no value for the new column note"
    assert filled.do(MIGRATION) == (2, f"{lack}: make it nullable, or give it a server_default\n")
    filled.module.write_text(MODULE % f'{OLD}, Column("note", Integer, nullable=False, server_default="1")')
    filled.migration()
    filled.prepare()
    assert columns("made_up") == ["id", "value", "note"]


@pytest.mark.slow
def test_column_is_renamed_or_dropped_only_if_that_is_said(filled: Project) -> None:
    filled.module.write_text(MODULE % 'Column("amount", Integer)')
    lost = "the code has no column made_up.value any more, and its values would be lost. If it has another name now:"
    said = f"{lost} RENAME=made_up.value:amount; to drop it: DROP=made_up.value\n"
    assert filled.do(MIGRATION) == (2, said)
    for given in ("rename=made_up.value:amuont", "drop=made_up.id"):
        assert filled.autogenerate(given)[0] == 2
    written = "".join(filled.migration("rename=made_up.value:amount").split())
    assert written.count("'value',new_column_name='amount')") == 1
    assert written.count("'amount',new_column_name='value')") == 1
    filled.prepare()
    assert columns("made_up") == ["id", "amount"]
    execute("UPDATE made_up SET amount = 8 WHERE amount = 7")
    assert filled.migration() == ""

    filled.module.write_text(MODULE % 'Column("note", Integer)')
    said = "DROP=made_up.nothing fits no change: name a table, or a column that the code lacks and a new one\n"
    assert filled.autogenerate("drop=made_up.nothing", "drop=made_up.amount") == (2, said)
    filled.migration("drop=made_up.amount")
    filled.prepare()
    assert columns("made_up") == ["id", "note"]


@pytest.mark.slow
def test_table_is_made_anew_with_another_key_only_if_that_is_said(filled: Project) -> None:
    filled.module.write_text(MODULE % 'Column("value", Integer, primary_key=True), Column("note", Integer, index=True)')
    said = "the primary key of the table made_up is id in the database, and id, value in the code. To make the table"
    for code in (MIGRATION, CHECK, SETUP):
        ended, output = filled.do(code)
        assert (ended, said in output) == (2, True), output
    # Neither a table of ours, nor one that is not there.
    for name in ("epochs", "made_up_too"):
        assert filled.autogenerate(f"drop={name}", "drop=made_up")[0] == 2
    assert len(list(filled.versions.glob("*.py"))) == len(list((ROOT / "migrations" / "versions").glob("*.py")))
    assert filled.autogenerate("drop=made_up") == (0, f"{DROPPED}.\n")
    # Until it is applied, this alone is to be done.
    ended, output = filled.autogenerate("drop=made_up")
    assert (ended, output.endswith("(made up); call `make setup` first\n")) == (2, True)
    filled.prepare()
    assert (columns("made_up"), values()) == (["id", "value", "note"], [])
    execute("INSERT INTO made_up (id, value) VALUES (1, 7), (1, 8)")
    assert filled.migration() == ""
    assert filled.do(DOWN) == (0, "")
    assert (columns("made_up"), values()) == (["id", "value"], [])
    filled.prepare()
    assert columns("made_up") == ["id", "value", "note"]


@pytest.mark.slow
def test_flow_of_a_table_that_is_made_anew_loads_all_again(filled: Project) -> None:
    filled.module.write_text(MODULE % OLD + FLOW)
    jobs = "load-made-up/a", "load-made-up-too/a"
    before = upserts.epoch()
    for job in jobs:
        with checkpoint(job, before).step("a") as connection:
            assert connection is not None
            claims.claim(connection, job, ["a"])
    assert f"{DROPPED}; the next run of " in filled.autogenerate("drop=made_up")[1]
    filled.prepare()
    after = upserts.epoch()
    assert checkpoint(jobs[0], after).done() == set()
    with upserts.transaction() as connection:
        assert [claims.claim(connection, job, ["a"]) for job in jobs] == [["a"], []]
    if checkpoints.REMEMBERS and not checkpoints.OUTSIDE:
        assert checkpoint(jobs[1], after).done() == {"a"}
    else:
        # Nothing that is known for the old id counts.
        assert (after != before, len(after)) == (True, 32)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("now", "said"),
    [
        ('Column("value", String(20), nullable=False)', r"is integer in the database, and (var)?char.* in the code"),
        ('Column("value", Integer)', "must have a value in the database, and not in the code"),
        ("", "must have a value in the database, and the code lacks it"),
    ],
)
def test_column_that_is_another_one_in_the_code_ends_a_run(project: Project, now: str, said: str) -> None:
    """A database would convert the values, such as 007 to 7, or refuse the rows."""
    project.fill('Column("value", Integer, nullable=False)')
    project.prepare()
    project.module.write_text(MODULE % now)
    for command in (CHECK, SETUP):
        code, output = project.do(command)
        line = output.splitlines()[-1]
        assert code == 2
        assert re.match(f"the column made_up.value {said}(: apply|, and all)", line, re.IGNORECASE), output
    project.migration(*([] if now else ["drop=made_up.value"]))
    project.prepare()
    assert project.do(CHECK)[0] == 0
    assert project.migration() == ""


@pytest.mark.slow
def test_column_that_must_have_a_value_is_refused_while_rows_have_none(filled: Project) -> None:
    execute("INSERT INTO made_up (id) VALUES (2)")
    filled.module.write_text(MODULE % 'Column("value", Integer, nullable=False)')
    said = "rows of made_up have no value for made_up.value: fill them first, or leave it nullable\n"
    assert filled.autogenerate() == (2, said)
    execute("UPDATE made_up SET value = 8 WHERE id = 2")
    assert "nullable=False" in filled.migration()
    filled.prepare()
    assert sorted(values()) == [7, 8]


@pytest.mark.slow
def test_table_of_a_flow_that_is_gone_is_dropped_if_that_is_said(filled: Project) -> None:
    filled.module.unlink()
    assert filled.autogenerate("drop=made_up") == (0, f"{DROPPED}.\n")
    filled.prepare()
    assert columns("made_up") == []
    assert filled.migration() == ""


@pytest.mark.slow
@pytest.mark.parametrize("digits", [0, 2])
def test_more_digits_than_the_database_keeps_are_refused(project: Project, digits: int) -> None:
    """SQLite would read its integers as ten times less, PostgreSQL would round."""
    project.fill(f'Column("value", ExactNumeric(9, {digits}))')
    project.prepare()
    project.module.write_text(MODULE % 'Column("value", ExactNumeric(9, 3))')
    code, said = project.do(CHECK)
    assert code == 2
    lacks = "the database lacks the column made_up.value with 3 digits after the point"
    other = f"the digits after the point of the column made_up.value are {digits} in the database, and 3 in the code"
    assert said.startswith((lacks, other))
    if said.startswith(other):
        assert project.autogenerate() == (code, said)
    project.module.write_text(MODULE % f'Column("value", ExactNumeric(9, {digits}))')
    project.prepare()
    project.module.write_text(MODULE % 'Column("value", ExactNumeric(9, 3))')
    assert project.autogenerate("drop=made_up")[0] == 0
    for _ in range(2):
        project.prepare()
    assert values() == []


@pytest.mark.slow
def test_renamed_column_keeps_its_digits(project: Project) -> None:
    project.fill('Column("value", ExactNumeric(9, 2))')
    project.module.write_text(MODULE % 'Column("amount", ExactNumeric(9, 3))')
    project.migration("rename=made_up.value:amount")
    for code in (SETUP, CHECK):
        ended, said = project.do(code)
        assert (ended, "digits after the point" in said) == (2, True), said
    project.module.write_text(MODULE % 'Column("amount", ExactNumeric(9, 2))')
    project.prepare()
    project.prepare()


@pytest.mark.slow
def test_fewer_digits_are_refused(project: Project) -> None:
    project.fill('Column("value", ExactNumeric(9, 2))')
    project.module.write_text(MODULE % 'Column("value", ExactNumeric(9, 1))')
    # SQLite, which keeps integers, sees it later.
    said = [project.do(code) for code in (MIGRATION, CHECK)]
    assert any(code == 2 and "digits after the point" in text for code, text in said), said


def test_new_database_is_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(ROOT / "migrations", tmp_path / "migrations")
    monkeypatch.setattr(migrations, "FOLDER", folder)
    last = ScriptDirectory(str(folder)).get_current_head()
    (folder / "versions" / "break.py").write_text(
        f"revision = 'break'\ndown_revision = {last!r}\n\n\ndef upgrade():\n    raise AssertionError\n"
    )
    discovery.flows()
    for _ in range(2):
        upserts.prepare(upgrade=True)
    assert columns("epochs") == ["epoch"]


def test_table_that_a_database_lacks_is_said_until_its_migration_is_applied(project: Project) -> None:
    project.prepare()
    project.module.write_text(MODULE % OLD)

    refused = (
        "the database lacks the table made_up: apply its migration with `make setup`; if it has none, write it first:"
        ' make migration M="add made_up"\n'
    )
    assert project.do(CHECK) == (2, refused)
    assert "create_table('made_up'" in project.migration()
    assert project.do(CHECK) == (2, refused)
    project.prepare()
    assert columns("made_up") == ["id", "value"]


@pytest.mark.slow
def test_missing_file_of_a_migration_is_one_line(filled: Project) -> None:
    """Whether the database has that migration, or is new, and a later one follows it."""
    more = ", ".join([OLD, 'Column("more", Integer)'])
    filled.module.write_text(MODULE % more)
    filled.migration()
    filled.prepare()
    scripts = ScriptDirectory(str(filled.versions.parent))
    last: Any = scripts.get_revision(str(scripts.get_current_head()))
    kept = Path(last.path).rename(filled.folder / "kept.py")

    def look(command: str, code: int) -> None:
        found, said = filled.do(command)
        (line,) = (line for line in said.splitlines() if last.revision in line)
        assert "bring its file back, perhaps from another branch; docs/writing.md says" in line
        assert (found, "Traceback" in said) == (code, False)

    look(DOCTOR, 1)
    kept.rename(last.path)
    filled.module.write_text(MODULE % ", ".join([more, 'Column("most", Integer)']))
    filled.migration()
    Path(last.path).unlink()
    for _ in range(2):
        look(SETUP, 2)
        look(MIGRATION, 2)
        sink.empty()


@pytest.mark.slow
def test_project_can_start_anew(filled: Project) -> None:
    """As `docs/writing.md` says."""
    sink.empty()
    for file in filled.versions.glob("*.py"):
        file.unlink()
    assert "create_table('made_up'" in filled.migration()
    assert filled.do(SETUP)[0] == 0
    assert columns("made_up") == ["id", "value"]


@pytest.mark.slow
def test_migration_that_adds_a_table_brings_it_to_every_database(project: Project, tmp_path: Path) -> None:
    project.prepare()
    sink.copy(tmp_path)
    project.module.write_text(MODULE % OLD)
    assert project.do(ADD) == (0, "")
    assert columns("made_up") == ["id", "value"]
    sink.put_back(tmp_path)
    assert columns("made_up") == []
    project.prepare()
    assert columns("made_up") == ["id", "value"]
    assert project.migration() == ""
