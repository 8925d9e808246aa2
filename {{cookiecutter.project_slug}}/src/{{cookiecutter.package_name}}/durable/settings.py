"""Settings: read from the environment and from `.env` beside `pyproject.toml`, and validated.

Each module declares its settings beside its code, in a subclass of `ProjectSettings`; do the same in your flows. A
variable that looks like a misspelt setting is an error, because a setting that is silently ignored does harm.
"""

import os
import tomllib
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar, Self

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from .errors import SettingsError

PACKAGE = __name__.partition(".")[0]
PREFIX = f"{PACKAGE.upper()}_"
"""The prefix of the project's environment variables."""
ROOT = Path(__file__).resolve().parents[3]
"""The project's folder, if the package is installed from its sources, as by `make setup` and the deployment."""
PROJECT: str = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
ENV_FILE = Path(os.environ.get(f"{PREFIX}ENV_FILE", ROOT / ".env"))
"""The file with the project's variables. Tests set another one, to use nothing of the user's."""


def env_variables(file: Path | None = None) -> dict[str, str | None]:
    """Return the variables in a file, `ENV_FILE` by default.

    Raises:
        SettingsError: the file is not UTF-8, or has a line that sets nothing.
    """
    file = file or ENV_FILE
    content = file.read_bytes() if file.is_file() else b""
    try:
        # UTF-16 may pass for UTF-8, with a zero byte beside each letter.
        if b"\0" not in content:
            for line in parse_stream(StringIO(content.decode("utf-8-sig"))):
                if line.error:
                    raise SettingsError(f"{file}, line {line.original.line}: write NAME=value, or # before a remark")
            return dotenv_values(file, encoding="utf-8-sig")
    except UnicodeDecodeError:
        pass
    raise SettingsError(f"{file}: not UTF-8; save it as UTF-8")


class ProjectSettings(BaseSettings):
    """The base class of all settings: the field `api_url` reads the variable `PREFIX` + `API_URL`.

    Durations are ISO 8601 (`P30D`, `PT5M`); relative paths start from the project's folder, wherever you run.

    Raises:
        SettingsError: a variable has an invalid value, or `.env` is not UTF-8.

    Example:
        class OrdersSettings(ProjectSettings):
            orders_folder: Path = Path("data/orders")

        settings = OrdersSettings()
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_file_encoding="utf-8-sig",
        extra="ignore",
        frozen=True,
        # Secrets from files often end with a line break.
        str_strip_whitespace=True,
    )

    names: ClassVar[dict[str, str]] = {}
    """The settings of all classes, each with its class."""

    def __init__(self, **values: Any) -> None:
        env_variables()
        try:
            super().__init__(**values)
        except ValidationError as error:
            faults = [(f"{PREFIX}{'_'.join(map(str, fault['loc'])).upper()}", fault["msg"]) for fault in error.errors()]
            lines = (f"{name}: {message.removeprefix('Value error, ')}" for name, message in faults)
            raise SettingsError("\n".join(lines)) from None

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        place = f"{cls.__module__}.{cls.__qualname__}"
        for name in cls.model_fields:
            if ProjectSettings.names.setdefault(name, place) != place:
                raise TypeError(f"{place}.{name}: {ProjectSettings.names[name]} has a setting of that name already")

    @model_validator(mode="after")
    def _make_absolute(self) -> Self:
        paths = {name: ROOT / value.expanduser() for name, value in self if isinstance(value, Path)}
        self.__dict__.update(paths)
        return self


class Settings(ProjectSettings):
    """The settings that all modules share."""

    home: Path = Path("var")
    """The folder for everything that runs leave behind."""
    workers: int = Field(default=2, ge=1, le=64)
    """Chunks loaded at a time: threads of the run's process, or processes of its cluster."""
    max_rejected: float = Field(default=0.5, ge=0, le=1)
    """The share of a job's records above which a run fails if they are rejected. It also fails if all are.

    Records of earlier runs count, so that a resumed run ends like an undisturbed one.
    """


settings = Settings()


def check_names() -> None:
    """Check for misspelt settings. Call this after all modules with settings are imported.

    Variables that begin with `PREFIX` and resemble no setting are ignored.

    Raises:
        SettingsError: a variable resembles a setting but is none; the message names both.
    """
    known = [*map(str.upper, ProjectSettings.names), "ENV_FILE"]
    for variable in map(str.upper, {*os.environ, *env_variables()}):
        name = variable.removeprefix(PREFIX)
        if name != variable and name not in known and (meant := get_close_matches(name, known, 1, 0.8)):
            raise SettingsError(f"there is no setting {variable}; did you mean {PREFIX}{meant[0]}?")
