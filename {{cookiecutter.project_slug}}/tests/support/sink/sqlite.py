"""The database as the tests see it: a file in the home of each test."""

import sqlite3
from pathlib import Path

WRITERS = 3
"""Processes that may write at the same time."""


def begin(folder: Path) -> None:
    """Let there be a server for the tests: a file takes none."""


def own() -> dict[str, str]:
    """Return the environment of a process of the tests."""
    return {}


def elsewhere(file: Path) -> dict[str, str]:
    """Return an environment that leads to a database in a file."""
    return {"{{ cookiecutter.package_name | upper }}_DATABASE_URL": f"sqlite:///{file}"}


def read_only() -> str:
    """Return a URL that leads to the database, and lets nobody write."""
    return f"sqlite:///file:{_file()}?mode=ro&uri=true"


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
    with sqlite3.connect(_file()) as source, sqlite3.connect(folder / "copy.db") as target:
        source.backup(target)


def put_back(folder: Path) -> None:
    """Put that copy in the place of the database."""
    empty()
    (folder / "copy.db").replace(_file())


def is_sound() -> bool:
    """Whether the database says so itself."""
    from sqlalchemy import text

    from {{ cookiecutter.package_name }}.durable.upserts import database

    with database().connect() as connection:
        return bool(connection.execute(text("PRAGMA integrity_check")).scalar() == "ok")


def _file() -> Path:
    from {{ cookiecutter.package_name }}.durable.settings import settings

    return settings.home / "database.db"
