"""The database as the tests see it: a file in the home of each test."""

import sqlite3
from pathlib import Path

from sqlalchemy import text

from {{ cookiecutter.package_name }}.settings import settings
from {{ cookiecutter.package_name }}.upsert import database

WRITERS = 3
"""Processes that may write at the same time."""


def release() -> None:
    """Let other processes of a test use the database."""
    database().dispose()
    database.cache_clear()


def empty() -> None:
    """Remove all tables."""
    release()
    for file in settings.home.glob("flights.db*"):
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
    with database().connect() as connection:
        return bool(connection.execute(text("PRAGMA integrity_check")).scalar() == "ok")


def _file() -> Path:
    return settings.home / "flights.db"
