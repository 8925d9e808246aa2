"""The effect of a step, for the tests of checkpoints: a file, for there is no database."""

from pathlib import Path

from {{ cookiecutter.package_name }}.durable.settings import settings
from {{ cookiecutter.package_name }}.durable.upserts import Connection


def prepare() -> None:
    """Make the place for effects."""
    _folder().mkdir(parents=True, exist_ok=True)


def leave(connection: Connection, key: str) -> None:
    """Have the effect of a step. A repeat leaves it as it is."""
    (_folder() / key).write_text(key)


def happened() -> set[str]:
    """The steps whose whole effect is there."""
    return {path.name for path in _folder().iterdir()}


def _folder() -> Path:
    return settings.home / "effects"
