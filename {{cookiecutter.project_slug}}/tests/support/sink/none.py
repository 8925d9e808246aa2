"""The database as the tests see it: none."""

from pathlib import Path

WRITERS = 3
"""Processes that may write at the same time: as many as there are, but three are enough for a test."""


def begin(folder: Path) -> None:
    """Let there be a server for the tests: none."""


def own() -> dict[str, str]:
    """Return the environment of a process of the tests."""
    return {}


def elsewhere(file: Path) -> dict[str, str]:
    """Return an environment that leads to a database: there is none."""
    return {}


def read_only() -> str:
    """Return nothing: there is no database."""
    return ""


def remove(environment: dict[str, str]) -> None:
    """Remove what `own` has made: nothing."""


def stop() -> None:
    """End the servers that this process has started: there are none."""


def end() -> None:
    """Leave nothing of this process's behind."""


def release() -> None:
    """Let other processes of a test use the database: there is none."""


def empty() -> None:
    """Remove all tables: there are none."""


def copy(folder: Path) -> None:
    """Keep a copy of the database: there is none."""


def put_back(folder: Path) -> None:
    """Put that copy in the place of the database: there is none."""
