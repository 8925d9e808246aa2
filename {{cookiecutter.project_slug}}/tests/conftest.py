"""One Prefect server for all tests, and an empty home for each.

The server is the one at PREFECT_API_URL, or a temporary one in memory. Nothing of the user's Prefect profile is used.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

HOME = Path(tempfile.mkdtemp(prefix="{{ cookiecutter.project_slug }}-"))
os.environ |= {
    # Before the first import of the project and of Prefect, which read their settings then.
    "{{ cookiecutter.package_name | upper }}_HOME": str(HOME / "var"),
    "PREFECT_HOME": str(HOME / "prefect"),
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:///:memory:",
}


@pytest.fixture(scope="session", autouse=True)
def _remove_home() -> Iterator[None]:
    yield
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture(autouse=True)
def home() -> Iterator[Path]:
    """The folder of everything that a run leaves behind: empty when a test begins."""
    from {{ cookiecutter.package_name }}.settings import settings
{%- if cookiecutter.upsert != "none" %}
    from {{ cookiecutter.package_name }}.upsert import database
{%- endif %}

    settings.home.mkdir(parents=True)
    yield settings.home
{%- if cookiecutter.upsert != "none" %}
    database().dispose()
    database.cache_clear()
{%- endif %}
    shutil.rmtree(settings.home)


@pytest.fixture(scope="session")
def api() -> Iterator[str]:
    """The URL of the Prefect server, which child processes find in their environment too."""
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    from {{ cookiecutter.package_name }}.server import server

    with server(HOME / "server.log") as url:
        os.environ["PREFECT_API_URL"] = url
        # A heartbeat's thread costs each flow run a second at its end.
        with temporary_settings({PREFECT_API_URL: url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            yield url
