"""The store of results as the tests see it: a folder in the home of each test."""

from pathlib import Path


def start(folder: Path) -> dict[str, str]:
    """Start a server: a folder takes none. Return the environment that leads to it."""
    return {}


def own(place: str) -> dict[str, str]:
    """Return the environment of a process of the tests."""
    return {}


def names() -> list[str]:
    """The records that are kept."""
    return [path.name for path in _folder().glob("*")]


def read(name: str) -> bytes:
    """A record."""
    return (_folder() / name).read_bytes()


def write(name: str, content: bytes) -> None:
    """Put something else in a record's place."""
    (_folder() / name).write_bytes(content)


def empty() -> None:
    """Remove all records: they are gone with the home."""


def _folder() -> Path:
    from {{ cookiecutter.package_name }}.durable.results import RESULTS

    return RESULTS
