"""Migrations: the tables of a database that holds rows follow those of the code, and a new one needs none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, select

from {{ cookiecutter.package_name }} import migrations
from {{ cookiecutter.package_name }}.settings import ROOT
from {{ cookiecutter.package_name }}.tables import create, epochs
from {{ cookiecutter.package_name }}.upsert import database

import sink


def columns() -> list[str]:
    with database().connect() as connection:
        return [column["name"] for column in inspect(connection).get_columns("epochs")]


def test_a_new_column_comes_to_a_database_that_has_rows(tmp_path: Path) -> None:
    create(database())
    with database().begin() as connection:
        before = connection.scalar(select(epochs.c.epoch))
    sink.release()
    project = tmp_path / "project"
    shutil.copytree(ROOT / "src", project / "src")
    shutil.copytree(ROOT / "migrations", project / "migrations")
    shutil.copy(ROOT / "alembic.ini", project)
    tables = project / "src" / "{{ cookiecutter.package_name }}" / "tables.py"
    tables.write_text(tables.read_text() + 'epochs.append_column(Column("more", UtcDateTime))\n')

    def python(*arguments: str) -> None:
        environment = os.environ | {"PYTHONPATH": str(project / "src")}
        subprocess.run([sys.executable, *arguments], cwd=project, env=environment, check=True, capture_output=True)

    known = set((project / "migrations" / "versions").glob("*.py"))
    python("-m", "alembic", "revision", "--autogenerate", "-m", "more")
    (script,) = set((project / "migrations" / "versions").glob("*.py")) - known
    assert "'more'" in script.read_text()
    python("-c", "from {{ cookiecutter.package_name }}.migrations import upgrade; upgrade(); upgrade()")
    assert columns() == ["epoch", "more"]
    with database().begin() as connection:
        assert connection.scalar(select(epochs.c.epoch)) == before


def test_a_new_database_is_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(ROOT / "migrations", tmp_path / "migrations")
    monkeypatch.setattr(migrations, "FOLDER", folder)
    last = ScriptDirectory(str(folder)).get_current_head()
    (folder / "versions" / "break.py").write_text(
        f"revision = 'break'\ndown_revision = {last!r}\n\n\ndef upgrade():\n    raise AssertionError\n"
    )
    create(database())
    migrations.upgrade()
    assert columns() == ["epoch"]
