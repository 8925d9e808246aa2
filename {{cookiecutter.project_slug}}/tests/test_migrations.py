"""Migrations: the tables of a database that holds rows follow those of the code, and a new one needs none."""

import shutil
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Column, Integer, insert, inspect, select

from {{ cookiecutter.package_name }} import migrations
from {{ cookiecutter.package_name }}.settings import ROOT
from {{ cookiecutter.package_name }}.tables import create, epochs, metadata
from {{ cookiecutter.package_name }}.upsert import database


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the migrations, which the project uses instead."""
    copy = shutil.copytree(ROOT / "migrations", tmp_path / "migrations")
    monkeypatch.setattr(migrations, "FOLDER", copy)
    return copy


def columns() -> list[str]:
    with database().connect() as connection:
        return [column["name"] for column in inspect(connection).get_columns("epochs")]


def test_a_new_column_comes_to_a_database_that_has_rows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create(database())
    with database().begin() as connection:
        before = connection.scalar(select(epochs.c.epoch))
    changed = metadata.__class__()
    for table in metadata.tables.values():
        copied = table.to_metadata(changed)
        if copied.name == "epochs":
            copied.append_column(Column("more", Integer))
    monkeypatch.setattr("{{ cookiecutter.package_name }}.tables.metadata", changed)
    config = Config()
    config.set_main_option("script_location", str(folder))
    command.revision(config, message="more", autogenerate=True)
    (script,) = folder.glob("versions/*.py")
    assert "'more'" in script.read_text()
    migrations.upgrade()
    migrations.upgrade()
    assert columns() == ["epoch", "more"]
    with database().begin() as connection:
        assert connection.scalar(select(epochs.c.epoch)) == before
        connection.execute(insert(changed.tables["epochs"]).values(epoch="x", more=1))


def test_a_new_database_is_up_to_date(folder: Path) -> None:
    (folder / "versions" / "1_break.py").write_text(
        "revision = '1'\ndown_revision = None\n\n\ndef upgrade():\n    raise AssertionError\n"
    )
    create(database())
    migrations.upgrade()
    assert columns() == ["epoch"]
