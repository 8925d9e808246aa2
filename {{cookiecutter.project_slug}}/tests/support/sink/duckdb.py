"""The database as the tests see it: a file in the home of each test."""

import importlib.util
import shutil
from pathlib import Path

# DuckDB loads pandas, where it is installed, with a process's first statement: once here for those that are forked.
if importlib.util.find_spec("pandas"):
    importlib.import_module("pandas")

WRITERS = 1
"""Processes that may write at the same time."""


def begin(folder: Path) -> None:
    """Let there be a server for the tests: a file takes none."""


def own() -> dict[str, str]:
    """Return the environment of a process of the tests."""
    return {}


def elsewhere(file: Path) -> dict[str, str]:
    """Return an environment that leads to a database in a file."""
    return {"{{ cookiecutter.package_name | upper }}_DATABASE_URL": f"duckdb:///{file}"}


def read_only() -> str:
    """Return a URL that leads to the database, and lets nobody write."""
    return f"duckdb:///{_file()}?access_mode=read_only"


def remove(environment: dict[str, str]) -> None:
    """Remove what `own` has made: it is in the home."""


def stop() -> None:
    """End the servers that this process has started: there are none."""


def end() -> None:
    """Leave nothing of this process's behind."""


def release() -> None:
    """Let other processes of a test use the database."""
    from {{ cookiecutter.package_name }}.durable.upserts import database

    database().dispose()
    database.cache_clear()


def empty() -> None:
    """Remove all tables."""
    release()
    for file in _file().parent.glob(f"{_file().name}*"):
        file.unlink()


def copy(folder: Path) -> None:
    """Keep a copy of the database in a folder."""
    release()
    shutil.copy(_file(), folder / "copy.duckdb")


def put_back(folder: Path) -> None:
    """Put that copy in the place of the database."""
    empty()
    (folder / "copy.duckdb").replace(_file())


def is_sound() -> bool:
    """Whether the file opens, with its log, and can be read and written as a whole."""
    from sqlalchemy import text

    from {{ cookiecutter.package_name }}.durable.upserts import database

    release()
    with database().begin() as connection:
        for name in connection.scalars(text("SELECT table_name FROM duckdb_tables()")).all():
            connection.execute(text(f'SELECT * FROM "{name}"')).all()
        connection.execute(text("CHECKPOINT"))
    return True


def _file() -> Path:
    from {{ cookiecutter.package_name }}.durable.settings import settings

    return settings.home / "database.duckdb"
