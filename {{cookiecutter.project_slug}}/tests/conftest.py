"""One Prefect server for all tests, and an empty home for each.

The server is the one at PREFECT_API_URL, or a temporary one, which starts while the first tests run. Nothing of the
user's settings, `.env`, database or Prefect profile is used.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import UnavailableError, cluster, sink, store

PREFIX = "{{ cookiecutter.package_name | upper }}_"
if "PYTEST_XDIST_WORKER" not in os.environ:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]
    os.environ["TESTS_FOLDER"] = tempfile.mkdtemp(prefix="{{ cookiecutter.project_slug }}-")
    try:
        os.environ |= store.start(Path(os.environ["TESTS_FOLDER"], "store"))
    except UnavailableError as error:
        os.environ["NO_STORE"] = str(error)
    try:
        sink.begin(Path(os.environ["TESTS_FOLDER"], "database"))
    except UnavailableError as error:
        raise pytest.UsageError(str(error)) from error
FOLDER = Path(os.environ["TESTS_FOLDER"])
"""For all processes of this test run."""
os.environ |= {
    # Before the first import of the project and of Prefect, which read their settings then.
    f"{PREFIX}HOME": str(FOLDER / os.environ.get("PYTEST_XDIST_WORKER", "var")),
    f"{PREFIX}ENV_FILE": os.devnull,
    "PREFECT_HOME": str(FOLDER / "prefect"),
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:///:memory:",
    **cluster.ENVIRONMENT,
    **store.own(f"{FOLDER.name.replace('_', '-').lower()}-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"),
    **sink.own(),
}

SERVER = """
import os, time
from pathlib import Path
from {{ cookiecutter.package_name }}.durable.server import server
from tests.support.prefect_home import prepared

folder = Path(%r)
os.environ |= prepared(folder / "prefect")
with server(folder / "server.log") as url:
    (folder / "starting").write_text(url)
    (folder / "starting").rename(folder / "url")
    time.sleep(86400)
"""
START_TIMEOUT = 180
"""Seconds."""

parent: subprocess.Popen[bytes] | None = None


def pytest_configure(config: pytest.Config) -> None:
    """Let the server start."""
    global parent  # noqa: PLW0603
    from {{ cookiecutter.package_name }}.durable.errors import SettingsError
    from {{ cookiecutter.package_name }}.durable.settings import ROOT, env_variables

    try:
        # Prefect reads it, in the folder that tests run in.
        env_variables(ROOT / ".env")
    except SettingsError as error:
        raise pytest.UsageError(str(error)) from None
    if "PREFECT_API_URL" not in os.environ and not hasattr(config, "workerinput"):
        # No test may use the server that is set in `.env`.
        environment = {**os.environ, "PREFECT_API_URL": "", "PYTHONPATH": os.pathsep.join(sys.path)}
        parent = subprocess.Popen([sys.executable, "-c", SERVER % str(FOLDER)], env=environment)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Kill the server's parent, which is a test too: a temporary server does not outlive it."""
    sink.end()
    if hasattr(config, "workerinput"):
        return
    if parent:
        parent.kill()
        parent.wait()
        url = FOLDER / "url"
        deadline = time.monotonic() + 30
        while url.exists() and answers(url.read_text()):
            assert time.monotonic() < deadline, "the temporary server has outlived its parent"
            time.sleep(0.1)
    shutil.rmtree(FOLDER, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that need the server last, for it takes a while to start; of those, only yours are not slow."""
    items.sort(key=lambda item: "api" in getattr(item, "fixturenames", ()))
    for item in items:
        if "api" in item.fixturenames and item.path.parent.name == "durable":  # type: ignore[attr-defined]
            item.add_marker("slow")
            item.fixturenames.append("tasks_run")  # type: ignore[attr-defined]


def answers(url: str) -> bool:
    """Whether a Prefect server is there."""
    from {{ cookiecutter.package_name }}.durable.server import ServerError, check

    try:
        check(url)
    except ServerError:
        return False
    return True


@pytest.fixture(scope="session")
def api() -> Iterator[str]:
    """The URL of the Prefect server, which child processes find in their environment too."""
    if reason := os.environ.get("NO_STORE"):
        pytest.skip(reason)
    from prefect.blocks.core import Block
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    from {{ cookiecutter.package_name }}.durable import results
    from {{ cookiecutter.package_name }}.durable.server import drain

    deadline = time.monotonic() + START_TIMEOUT
    while "PREFECT_API_URL" not in os.environ:
        assert time.monotonic() < deadline, f"no Prefect server; {FOLDER / 'server.log'} may say why"
        time.sleep(0.1)
        if (FOLDER / "url").exists():
            os.environ["PREFECT_API_URL"] = (FOLDER / "url").read_text()
    url = os.environ["PREFECT_API_URL"]
    # A heartbeat's thread costs each flow run a second at its end.
    with temporary_settings({PREFECT_API_URL: url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        if results.NEEDS_SERVER:
            results.register()
        yield url
        if results.NEEDS_SERVER:
            Block.delete(str(results.RESULTS))
        drain()


@pytest.fixture(scope="session")
def tasks_run(api: str) -> Iterator[None]:
    """Where the mapped tasks of all tests run: one cluster, if they run on one, for it takes seconds to start."""
    from tests.support import processes  # noqa: F401 - from where the cluster's processes import

    with cluster.started():
        yield


@pytest.fixture(autouse=True)
def home(request: pytest.FixtureRequest) -> Iterator[Path]:
    """The folder of everything that a run leaves behind: empty when a test begins."""
    from {{ cookiecutter.package_name }}.durable.settings import settings

    settings.home.mkdir(parents=True)
    yield settings.home
    sink.empty()
    shutil.rmtree(settings.home)
    if "api" in request.fixturenames and "NO_STORE" not in os.environ:
        store.empty()
