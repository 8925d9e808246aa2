"""Baking for all tests: away from the user's home, and never without a look at how it went."""

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import history
import pytest
import reports
from cookiecutter import generate, hooks
from filelock import FileLock
from jinja2 import Environment
from pytest_cookies.plugin import Cookies, Result
from variants import ROOT, Answers, typed

Attempt = Callable[..., tuple[Result, Path]]
Bake = Callable[..., Path]

START_TIMEOUT = 180.0
"""Seconds for the server."""

SAMPLE = os.environ.get("SAMPLE") or "all"
"""A day, of which a part runs of the tests that take turns, or `all`."""
DAY = os.environ.get("DAY") or (f"{date.today()}" if SAMPLE == "all" else SAMPLE)
"""The day whose turn it is, also where all tests run."""
SHARD = os.environ.get("SHARD") or "1/1"
"""The part of all tests that runs: the number of the part, and of how many."""
TURNS = 8
"""Days after which each test has had its turn."""

FOREIGN = ("PYTEST_", "PREFECT_", "COV_", "MAKE", "MFLAGS", "ARGS")
"""What names of variables begin with that are of this test run, of the `make` that it runs in, or of Prefect."""

UNREACHABLE = re.compile(
    r"error sending request|dns error|client error \(Connect\)|Connection|timed out", re.IGNORECASE
)
"""What uv or pip says where no registry can be reached."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes long, and so begins early")
    config.addinivalue_line("markers", f"rotating: on a day, `make test` runs one in {TURNS} of these")


pytest_terminal_summary = reports.summarize


def pytest_report_header() -> str:
    return f"SAMPLE={SAMPLE} DAY={DAY} SHARD={SHARD}"


def turn() -> int:
    """Return how often all tests have had their turn until this day; 0 if all run."""
    return 0 if SAMPLE == "all" else day() // TURNS


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take those of today and of this shard, and have each process begin with its share of the slow ones.

    The longest come first, so that no long one is left over. Of the list, each process first gets a piece of the same
    length, and later some of what others have left.
    """

    run = set(sampled(sharded(items)))
    config.hook.pytest_deselected(items=[item for item in items if item not in run])
    items[:] = [item for item in items if item in run]
    count = getattr(config, "workerinput", {"workercount": 1})["workercount"]
    short = [item for item in items if not item.get_closest_marker("slow")]
    long = [item for item in items if item.get_closest_marker("slow")]
    long.sort(key=lambda item: item.path.name == "test_variants.py")
    items[:] = [
        item
        for place in range(count)
        for item in [*long[place::count], *short[len(short) * place // count : len(short) * (place + 1) // count]]
    ]


def day() -> int:
    """Return the number of this day."""
    try:
        return date.fromisoformat(DAY).toordinal()
    except ValueError:
        raise pytest.UsageError(f"DAY={DAY} is no day, such as 2026-11-30; SAMPLE may be `all` too") from None


def sharded(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the tests of this shard."""
    if not (found := re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", SHARD)) or int(found[1]) > int(found[2]):
        raise pytest.UsageError(f"SHARD={SHARD} is no part of a whole, such as 1/4")
    return items[int(found[1]) - 1 :: int(found[2])]


def sampled(items: list[pytest.Item]) -> list[pytest.Item]:
    """Leave out those that take turns and whose day another one is."""
    if SAMPLE == "all":
        return items
    today = day() % TURNS
    rotating = [item for item in items if item.get_closest_marker("rotating")]
    others = {item for place, item in enumerate(rotating) if place % TURNS != today}
    return [item for item in items if item not in others]


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, _cookiecutter_config_file: object) -> Iterator[Path]:
    """An empty home, and Cookiecutter's own files in a temporary folder, for this process and its children.

    Baked projects are read by many tests, so no program may write bytecode into them.
    """
    path = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(path))
        patch.setenv("USERPROFILE", str(path))
        patch.setenv("COOKIECUTTER_CONFIG", str(_cookiecutter_config_file))
        patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        yield path


@pytest.fixture(scope="session", autouse=True)
def compiled_once() -> Iterator[None]:
    """Compile and look at each text of the template once: Cookiecutter does for each bake, which takes most of it."""
    known: dict[tuple[object, ...], Any] = {}
    plain = Environment.compile

    def compile_once(self: Environment, *source: Any) -> Any:
        key = (type(self), *self.extensions, *source)
        if key not in known:
            known[key] = plain(self, *source)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Environment, "compile", compile_once)
        patch.setattr(generate, "is_binary", cache(generate.is_binary))
        yield


@pytest.fixture(scope="session", autouse=True)
def scripts_removed() -> Iterator[None]:
    """Remove each hook that has run: Cookiecutter leaves it in the folder for temporary files.

    Thousands of files there make every further hook slow, for Python lists the folder of the script that it runs.
    """
    plain = hooks.run_script

    def run_script(path: str, cwd: Path | str = ".") -> None:
        try:
            plain(path, cwd)
        finally:
            Path(path).unlink()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hooks, "run_script", run_script)
        yield


@pytest.fixture(scope="session")
def attempt(tmp_path_factory: pytest.TempPathFactory, home: Path, _cookiecutter_config_file: object) -> Attempt:
    """Try to bake; return the outcome, which may be a failure, and the folder in which a project was to be made."""
    outputs: list[Path] = []

    def new_output(_: str) -> Path:
        outputs.append(tmp_path_factory.mktemp("bake"))
        return outputs[-1]

    cookies = Cookies(str(ROOT), new_output, _cookiecutter_config_file)

    def attempt(**answers: str) -> tuple[Result, Path]:
        known = len(outputs)
        result = cookies.bake(extra_context=typed(answers))
        assert len(outputs) > known, f"Cookiecutter did not come as far as making a project: {result.exception!r}"
        return result, outputs[-1]

    return attempt


@pytest.fixture(scope="session")
def bake(attempt: Attempt) -> Bake:
    """Bake a new project, and return its path. Answers are given as they would be typed at the prompts."""

    def bake(**answers: str) -> Path:
        result, output = attempt(**answers)
        assert result.exception is None, f"{answers} made no project: {result.exception!r}"
        assert result.exit_code == 0
        path = Path(result.project_path)
        assert [path] == list(output.iterdir())
        return path

    return bake


@pytest.fixture(scope="session")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all processes that run these tests."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def baked(bake: Bake, together: Path) -> Callable[[Answers], Path]:
    """The project of a variant, baked once for all tests, which only read it."""

    def baked(answers: Answers) -> Path:
        place = together / "baked" / hashlib.sha256(json.dumps(answers).encode()).hexdigest()
        if not place.exists():
            project = bake(**answers)
            place.parent.mkdir(exist_ok=True)
            # Another process may have been faster.
            with suppress(OSError):
                project.parent.rename(place)
        (project,) = place.iterdir()
        return project

    return baked


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template as a git repository with a commit and a tag for each version, and last the files as they are."""
    return history.repository(tmp_path_factory.mktemp("repository") / "template.git")


@pytest.fixture
def refused(attempt: Attempt, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Bake what is to be refused; return the reasons, after a look that nothing is left behind."""

    def refused(**answers: str) -> str:
        capfd.readouterr()
        result, output = attempt(**answers)
        assert result.exception is not None, f"{answers} made a project"
        assert result.exit_code != 0
        assert list(output.iterdir()) == []
        reasons = capfd.readouterr().err
        assert reasons.startswith("No project was made:\n  - "), reasons
        return reasons

    return refused


@pytest.fixture(scope="session")
def environment(home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of programs that run on baked projects: no setting of this test run, and none of Prefect."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return {**ours, "PREFECT_HOME": str(tmp_path_factory.mktemp("prefect"))}


@pytest.fixture(scope="session")
def types_cache(baked: Callable[[Answers], Path], together: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what mypy has found out about the libraries: that takes it a minute, once for all processes."""
    shared, own = together / "types", tmp_path_factory.mktemp("types")
    with FileLock(f"{shared}.lock"):
        if not shared.exists():
            command = [sys.executable, "-m", "mypy", f"--cache-dir={shared}"]
            subprocess.run(command, cwd=baked({}), stdout=subprocess.DEVNULL, check=False)
    return Path(shutil.copytree(shared, own, dirs_exist_ok=True))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def api(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Prefect server in memory, one for each process that runs tests."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    folder = tmp_path_factory.mktemp("server")
    options = ["--no-services", "--no-ui", "--host", "127.0.0.1", "--port", str(port)]
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", *options],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={
                **environment,
                "PREFECT_HOME": str(folder),
                "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
                "PREFECT_SERVER_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:///:memory:",
            },
        )
        try:
            deadline = time.monotonic() + START_TIMEOUT
            while not answers(url):
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"the Prefect server did not start:\n{log.read_text(errors='replace')[-4000:]}")
                time.sleep(0.2)
            yield url
        finally:
            stop(process)


@pytest.fixture(scope="module")
def prefect_here(api: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Prefect in this process, on the tests' server."""
    # Imported late: Prefect reads its settings from the home that `home` makes.
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_LOCAL_STORAGE_PATH,
        PREFECT_LOGGING_LEVEL,
        temporary_settings,
    )

    settings = {
        PREFECT_API_URL: api,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
        PREFECT_LOCAL_STORAGE_PATH: tmp_path_factory.mktemp("results"),
        PREFECT_LOGGING_LEVEL: "CRITICAL",
    }
    with temporary_settings(settings):
        yield
        APILogWorker.drain_all(timeout=10)
        EventsWorker.drain_all(timeout=10)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch, prefect_here: None) -> list[float]:
    """The seconds that Prefect would have slept before retries of tasks."""
    seconds: list[float] = []
    monkeypatch.setattr("prefect.task_engine.time", SimpleNamespace(**vars(time) | {"sleep": seconds.append}))
    return seconds


@pytest.fixture(scope="session")
def uv() -> str:
    """The program that the Makefile calls."""
    found = shutil.which("uv") or shutil.which("uv", path=ROOT / ".uv" / "bin")
    return found or pytest.skip("uv is not here")


@pytest.fixture(scope="session")
def site(together: Path, environment: dict[str, str]) -> Path:
    """The site as `make docs` builds it, once for all processes."""
    place = together / "site"
    ours = {name: value for name, value in environment.items() if name != "SITE_URL"}
    with FileLock(f"{place}.lock"):
        if not place.exists():
            ready = make(ours, ".docs/.ready")
            if ready.returncode and UNREACHABLE.search(ready.stdout):
                pytest.skip("the tools of the site cannot be installed: no registry can be reached")
            assert ready.returncode == 0, ready.stdout
            built = make(ours, "docs")
            assert built.returncode == 0, built.stdout
            shutil.copytree(ROOT / ".docs" / "site", place)
    return place


def make(environment: dict[str, str], target: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", target]
    return subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[Path], Path]:
    """Copy a project that a test is going to change."""
    return lambda project: Path(shutil.copytree(project, tmp_path / project.name))
