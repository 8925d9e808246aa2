"""The store of results as the tests see it: a folder."""

from {{ cookiecutter.package_name }}.settings import settings


def names() -> list[str]:
    """The records that are kept."""
    return [path.name for path in settings.results_dir.glob("*")]


def read(name: str) -> bytes:
    """A record."""
    return (settings.results_dir / name).read_bytes()


def write(name: str, content: bytes) -> None:
    """Put something else in a record's place."""
    (settings.results_dir / name).write_bytes(content)
