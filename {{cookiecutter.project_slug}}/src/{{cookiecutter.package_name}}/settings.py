{%- set here = {"results": cookiecutter.result_storage == "local", "tables": cookiecutter.upsert == "sqlite", "marks": cookiecutter.checkpoint == "file"} -%}
{%- set here = here.items() | selectattr(1) | map("first") | join(" and ") if cookiecutter.task_runner != "threads" else "" -%}
"""Every setting of the project, read from the environment and from `.env` beside `pyproject.toml`.

Paths are absolute, so that a run started in another folder finds the same {% if cookiecutter.result_storage == "local" %}results{% if cookiecutter.upsert != "none" %} and the same database{% endif %}{% else %}files{% endif %}.
A misspelt or invalid variable is an error: a setting that is ignored in silence is worse than one that is missing.
Other variables that happen to begin with `PREFIX` are none of this project's business.
"""

import os
{%- if cookiecutter.cache_key != "none" or cookiecutter.retry_policy != "none" %}
from datetime import timedelta
{%- endif %}
from difflib import get_close_matches
from pathlib import Path
from typing import {% if cookiecutter.retry_policy == "escalating" %}Annotated, {% endif %}Any, Self
{%- if here %}
from urllib.parse import urlsplit
{%- endif %}

from dotenv import dotenv_values
from pydantic import Field, {% if cookiecutter.upsert != "none" or cookiecutter.result_storage != "local" %}SecretStr, {% endif %}{% if cookiecutter.retry_policy == "escalating" or here %}field_validator, {% endif %}model_validator
from pydantic_settings import BaseSettings, {% if cookiecutter.retry_policy == "escalating" %}NoDecode, {% endif %}SettingsConfigDict

PREFIX = "{{ cookiecutter.package_name | upper }}_"
ROOT = Path(__file__).resolve().parents[2]
"""The project's folder when it is installed from its sources, as `make setup` and the deployment do."""
ENV_FILE = Path(os.environ.get(f"{PREFIX}ENV_FILE", ROOT / ".env"))
"""Another file than `.env`, for the tests: they use nothing of the user's."""

{%- if cookiecutter.result_storage != "local" %}
FOLDER = r"^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$"
{%- endif %}
{%- if cookiecutter.retry_policy == "escalating" %}
Delay = Annotated[timedelta, Field(ge=timedelta(0), le=timedelta(days=30))]
{%- endif %}


class Settings(BaseSettings):
    """In the environment a name is upper case, after `PREFIX`; a duration is ISO 8601 (`P30D`, `PT5M`)."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=ENV_FILE, extra="ignore", frozen=True)

    home: Path = ROOT / "var"
    """Where everything that a run leaves behind is kept."""
    source: Path = ROOT / "data" / "flights.csv"
    """The file that `run` loads when it is given none."""
    chunk_days: int = Field(default=1, ge=1, le=366)
    """Days of flights in a chunk: one task, one step."""
    workers: int = Field(default=2, ge=1, le=64)
{%- if cookiecutter.task_runner == "threads" %}
    """Chunks loaded at a time. Python computes one at a time; more help where chunks wait for something else."""
{%- else %}
    """Chunks loaded at a time, each by a process of its own."""
    cluster_address: str = ""
    """A cluster that is there, {% if cookiecutter.task_runner == "dask" %}`tcp://HOST:8786`{% else %}`ray://HOST:10001`{% endif %}; empty: each run starts its own, of `workers` processes."""
{%- endif %}
{%- if cookiecutter.result_storage == "local" %}
    results_dir: Path = Path("results")
    """Where finished tasks keep their results; relative to `home`."""
{%- else %}
    results_block: str = Field(default="{{ cookiecutter.project_slug }}", pattern=r"^[a-z0-9-]+$")
    """The name of the block by which the Prefect server knows the place of the results."""
{%- if cookiecutter.result_storage == "azure" %}
    results_container: str = ""
    """The container in which finished tasks keep their results. It is not made here."""
{%- else %}
    results_bucket: str = ""
    """The bucket in which finished tasks keep their results. It is not made here."""
{%- endif %}
    results_folder: str = Field(default="{{ cookiecutter.project_slug }}", pattern=FOLDER)
    """What the names of all results begin with."""
{%- endif %}
{%- if cookiecutter.result_storage == "s3" %}
    results_access_key: str = ""
    """The id of an access key; empty: the machine's role, profile or AWS variables."""
    results_secret_key: SecretStr = SecretStr("")
    """The key's secret."""
    results_region: str = ""
    """The bucket's region; empty: as the machine's profile or AWS variables say."""
    results_endpoint: str = ""
    """The URL of another server than Amazon's that speaks S3."""
{%- elif cookiecutter.result_storage == "gcs" %}
    results_credentials: SecretStr = SecretStr("")
    """A service account's key, as JSON; empty: the Application Default Credentials of the machine."""
    results_endpoint: str = ""
    """The URL of another server than Google's, such as an emulator."""
{%- elif cookiecutter.result_storage == "azure" %}
    results_connection_string: SecretStr = SecretStr("")
    """A connection string of the storage account, which names its endpoint too."""
    results_account_url: str = ""
    """Instead of it: the account's URL, for the machine's own identity."""
{%- endif %}
{%- if cookiecutter.cache_key != "none" %}
    cache_expiration: timedelta = Field(default=timedelta(days=30), gt=timedelta(0), le=timedelta(days=36500))
    """How long a finished task is not run again for the same inputs."""
{%- endif %}
{%- if cookiecutter.retry_policy in ["exponential", "fixed"] %}
    retries: int = Field(default=4, ge=1, le=50)
    """How often a task is tried again after a transient error."""
{%- endif %}
{%- if cookiecutter.retry_policy == "exponential" %}
    retry_base: timedelta = Field(default=timedelta(seconds=1), ge=timedelta(0), le=timedelta(days=30))
    """The delay before the first retry; each further one doubles it."""
    retry_cap: timedelta = Field(default=timedelta(minutes=5), ge=timedelta(0), le=timedelta(days=30))
    """No delay is longer than this, jitter aside."""
{%- elif cookiecutter.retry_policy == "escalating" %}
    # Without NoDecode, pydantic-settings would want a list to be JSON.
    retry_delays: Annotated[tuple[Delay, ...], NoDecode] = Field(
        default=(timedelta(seconds=1), timedelta(seconds=10), timedelta(minutes=1), timedelta(minutes=10)),
        min_length=1,
        max_length=50,
    )
    """The delay before each retry of a task after a transient error, with commas between: `PT1S,PT10S,PT1M`."""
{%- elif cookiecutter.retry_policy == "fixed" %}
    retry_delay: timedelta = Field(default=timedelta(seconds=30), ge=timedelta(0), le=timedelta(days=30))
    """The delay before each retry."""
{%- endif %}
{%- if cookiecutter.retry_policy != "none" %}
    retry_after_max: timedelta = Field(default=timedelta(minutes=10), ge=timedelta(0))
    """The longest wait that a server may ask for with Retry-After; a task that is to wait longer fails."""
    flow_retries: int = Field(default=0, ge=0, le=50)
    """How often a failed flow is run again, whatever its error: for deployed runs that nobody watches."""
    flow_retry_delay: timedelta = Field(default=timedelta(minutes=1), ge=timedelta(0), le=timedelta(days=30))
    """The delay before that."""
    retry_jitter: float = Field(default=0.5, gt=0, le=1)
    """By what part of itself a delay may be longer: 0.5 is up to one and a half times."""
{%- endif %}
{%- if cookiecutter.upsert != "none" %}
    database_url: SecretStr = SecretStr("")
{%- if cookiecutter.upsert == "postgres" %}
    """`postgresql://USER:PASSWORD@HOST:PORT/DATABASE`; `make run` without it starts a server of this machine."""
{%- elif cookiecutter.upsert == "duckdb" %}
    """An SQLAlchemy URL; empty: the DuckDB file `<home>/flights.duckdb`."""
{%- else %}
    """An SQLAlchemy URL; empty: the SQLite file `<home>/flights.db`."""
{%- endif %}
{%- endif %}
{%- if cookiecutter.retry_policy == "escalating" %}

    @field_validator("retry_delays", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [delay.strip() for delay in value.split(",")] if isinstance(value, str) else value
{%- endif %}

{%- if here %}

    @field_validator("cluster_address")
    @classmethod
    def _refuse_other_machines(cls, value: str) -> str:
        host = urlsplit(value if "//" in value else f"//{value}").hostname
        if value and host not in ("127.0.0.1", "::1", "localhost"):
            raise ValueError(
                f"the workers of {value} may be on other machines,"
                " but files of this one hold the {{ here }};"
                " leave it empty, or give a cluster of this machine, at 127.0.0.1"
            )
        return value
{%- endif %}

    @model_validator(mode="before")
    @classmethod
    def _refuse_misspelt(cls, values: dict[str, Any]) -> dict[str, Any]:
        known = [name.upper() for name in cls.model_fields]
        for variable in map(str.upper, {*os.environ, *dotenv_values(ENV_FILE)}):
            name = variable.removeprefix(PREFIX)
            if name != variable and name not in known and (meant := get_close_matches(name, known, 1, 0.8)):
                raise ValueError(f"there is no setting {variable}; {PREFIX}{meant[0]} may be meant")
        return values

    @model_validator(mode="after")
    def _make_absolute(self) -> Self:
        home = ROOT / self.home.expanduser()
        self.__dict__.update(
            home=home,
            source=ROOT / self.source.expanduser(),{%- if cookiecutter.result_storage == "local" %}
            results_dir=home / self.results_dir.expanduser(),
{%- endif %}
        )
        return self


settings = Settings()
