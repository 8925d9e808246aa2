"""One Prefect server for all tests, and an empty home for each.

The server is the one at PREFECT_API_URL, or a temporary one in memory, which starts while the first tests run. Nothing
of the user's settings, `.env`, database or Prefect profile is used.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
{%- if cookiecutter.result_storage != "local" or cookiecutter.upsert == "postgres" %}
{% if cookiecutter.upsert == "postgres" %}
import sink
{%- endif %}
{%- if cookiecutter.result_storage != "local" %}
import store
{%- endif %}
from servers import UnavailableError
{%- endif %}

if "PYTEST_XDIST_WORKER" not in os.environ:
    for name in [name for name in os.environ if name.startswith("{{ cookiecutter.package_name | upper }}_")]:
        del os.environ[name]
    os.environ["TESTS_FOLDER"] = tempfile.mkdtemp(prefix="{{ cookiecutter.project_slug }}-")
{%- if cookiecutter.result_storage != "local" %}
    try:
        os.environ |= store.start(Path(os.environ["TESTS_FOLDER"], "store"))
    except UnavailableError as error:
        os.environ["NO_STORE"] = str(error)
{%- endif %}
{%- if cookiecutter.upsert == "postgres" %}
    try:
        sink.begin(Path(os.environ["TESTS_FOLDER"], "postgres"))
    except UnavailableError as error:
        raise pytest.UsageError(f"{error}; set {sink.SERVER} to the URL of a server for tests") from error
{%- endif %}
FOLDER = Path(os.environ["TESTS_FOLDER"])
"""For all processes of this test run."""
os.environ |= {
    # Before the first import of the project and of Prefect, which read their settings then.
    "{{ cookiecutter.package_name | upper }}_HOME": str(FOLDER / os.environ.get("PYTEST_XDIST_WORKER", "var")),
    "{{ cookiecutter.package_name | upper }}_ENV_FILE": os.devnull,
    "PREFECT_HOME": str(FOLDER / "prefect"),
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:///:memory:",
{%- if cookiecutter.task_runner == "dask" %}
    # Its processes are forks too, as those of `processes.py`: so they start in no time.
    "DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD": "forkserver",
{%- endif %}
}

{%- if cookiecutter.result_storage != "local" %}
PLACE = f"{FOLDER.name.replace('_', '-').lower()}-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
os.environ |= {
    "{{ cookiecutter.package_name | upper }}_RESULTS_FOLDER": PLACE,
    "{{ cookiecutter.package_name | upper }}_RESULTS_BLOCK": PLACE,
}
{%- endif %}
{%- if cookiecutter.upsert == "postgres" %}
os.environ |= sink.own()
{%- endif %}

SERVER = """
import time
from pathlib import Path
from {{ cookiecutter.package_name }}.server import server

folder = Path(%r)
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
    if "PREFECT_API_URL" not in os.environ and not hasattr(config, "workerinput"):
        parent = subprocess.Popen([sys.executable, "-c", SERVER % str(FOLDER)])


def pytest_unconfigure(config: pytest.Config) -> None:
    """Kill the server's parent, which is a test too: a temporary server does not outlive it."""
{%- if cookiecutter.upsert == "postgres" %}
    sink.end()
{%- endif %}
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that need the server last, for it takes a while to start."""
    items.sort(key=lambda item: "api" in getattr(item, "fixturenames", ()))
{%- if cookiecutter.task_runner != "threads" %}
    for item in items:
        if item.path.name in {"test_clusters.py", "test_flows.py", "test_main.py"} and "api" in item.fixturenames:  # type: ignore[attr-defined]
            item.fixturenames.append("cluster")  # type: ignore[attr-defined]
{%- endif %}


def answers(url: str) -> bool:
    """Whether a Prefect server is there."""
    try:
        return httpx.get(f"{url}/health", timeout=2).is_success
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="session")
def api() -> Iterator[str]:
    """The URL of the Prefect server, which child processes find in their environment too."""
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    from {{ cookiecutter.package_name }}.server import drain
{%- if cookiecutter.result_storage != "local" %}

    if reason := os.environ.get("NO_STORE"):
        pytest.skip(reason)
    from prefect.blocks.core import Block

    from {{ cookiecutter.package_name }}.results import RESULTS, register
{%- endif %}

    deadline = time.monotonic() + START_TIMEOUT
    while "PREFECT_API_URL" not in os.environ:
        assert time.monotonic() < deadline, f"no Prefect server; {FOLDER / 'server.log'} may say why"
        time.sleep(0.1)
        if (FOLDER / "url").exists():
            os.environ["PREFECT_API_URL"] = (FOLDER / "url").read_text()
    url = os.environ["PREFECT_API_URL"]
    # A heartbeat's thread costs each flow run a second at its end.
    with temporary_settings({PREFECT_API_URL: url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
{%- if cookiecutter.result_storage != "local" %}
        register()
{%- endif %}
        yield url
{%- if cookiecutter.result_storage != "local" %}
        Block.delete(RESULTS)
{%- endif %}
        drain()


{% if cookiecutter.task_runner != "threads" -%}
@pytest.fixture(scope="session")
def cluster(api: str) -> Iterator[None]:
    """A cluster for the tests that load much: it takes seconds to start."""
    from {{ cookiecutter.package_name }}.runners import task_runner

    import processes  # noqa: F401 - from where the cluster's processes import

{% if cookiecutter.task_runner == "dask" %}    with task_runner() as runner, runner.client.as_current():
        yield
{%- else %}    with task_runner():
        yield
{%- endif %}


{% endif -%}
@pytest.fixture(autouse=True)
def home({% if cookiecutter.result_storage != "local" %}request: pytest.FixtureRequest{% endif %}) -> Iterator[Path]:
    """The folder of everything that a run leaves behind: empty when a test begins."""
    from {{ cookiecutter.package_name }}.settings import settings
{%- if cookiecutter.upsert != "none" %}

    import sink
{%- endif %}

    settings.home.mkdir(parents=True)
    yield settings.home
{%- if cookiecutter.upsert != "none" %}
    sink.empty()
{%- endif %}
    shutil.rmtree(settings.home)
{%- if cookiecutter.result_storage != "local" %}
    if "api" in request.fixturenames and "NO_STORE" not in os.environ:
        for name in store.names():
            store.delete(name)
{%- endif %}
