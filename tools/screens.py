"""Have a project leave a run in Prefect's UI, open its pages in Chromium, and keep pictures in `docs/screens`.

Each page is drawn in light and in dark.
"""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "screens"
SCHEMES = {"light": "", "dark": "-dark"}
"""What Prefect's UI keeps as its theme, with the ending of a picture's name."""
BAD = ("nonsense", "2013,1,5,x")
"""Records that a project sets aside."""
TIMEOUT = 120.0
"""Seconds for whatever is waited for."""

PROGRESS = "load-flights-progress"
DAY = "2012-12-31"
"""The label of the first chunk, of two days, which its task run is called after."""

DONE = 12
"""Chunks that are done when a run is killed."""
SLOW = f"""
DONE = {DONE}
import itertools, time
from durable_flights.__main__ import main
from durable_flights.flows.flights import flow

plain, count = flow.check, itertools.count()
flow.check = lambda *read: time.sleep(0.5 if next(count) < DONE else 300) or plain(*read)
main()
"""
"""A run that can be watched, and does not come to its end."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str | None:
    """Return the path of this machine's Chromium."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@dataclass
class Place:
    """A baked project, and where it and Prefect keep what is theirs."""

    project: Path
    environment: dict[str, str]

    @classmethod
    def of(cls, project: Path, folder: Path) -> "Place":
        """Return a place in an empty folder, without any setting of the caller's."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")} | {
            "DURABLE_FLIGHTS_HOME": str(folder / "var"),
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PYTHONPATH": str(project / "src"),
        }
        return cls(project, environment)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Call the project's command line, through pipes."""
        command = [sys.executable, "-m", "durable_flights", *arguments]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )

    def make(self, *arguments: str) -> list[str]:
        """Return a command of the project's Makefile, with the programs of this environment."""
        programs = Path(sys.executable).parent
        old = ["--old-file=.venv/.ready", f"BIN={programs}", "UV=uv"]
        return ["make", "--no-print-directory", "-C", str(self.project), *old, *arguments]

    def deploy(self, url: str) -> None:
        """Deploy the flows to a server, with alerts that go nowhere."""
        names = {"PREFECT_API_URL": f"{url}/api", "DURABLE_FLIGHTS_ALERT_URL": "http://127.0.0.1:9/alerts"}
        environment = {**self.environment, **names}
        command = self.make("deploy")
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        if done.returncode:
            raise RuntimeError(f"the flows were not deployed:\n{done.stdout}{done.stderr}")

    @contextmanager
    def ui(self) -> Iterator[str]:
        """Start the UI as the project does, on a free port; yield its URL."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen(
                self.make("ui", f"PORT={port}"),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
            try:
                until(lambda: process.poll() is not None or answers(f"http://127.0.0.1:{port}/api/health"))
                if process.poll() is not None:
                    log.seek(0)
                    raise RuntimeError(f"the UI did not start:\n{log.read().decode()}")
                yield f"http://127.0.0.1:{port}"
            finally:
                # Make and the server that it has started.
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(TIMEOUT)


def until(condition: Any) -> Any:
    """Wait until something is true, and return it."""
    deadline = time.monotonic() + TIMEOUT
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing came of waiting for {TIMEOUT:.0f} s")
        time.sleep(0.1)
    return found


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def ask(url: str, what: str, **criteria: Any) -> list[dict[str, Any]]:
    """Return what a Prefect server has of flow runs or artifacts."""
    request = urllib.request.Request(
        f"{url}/api/{what}/filter", json.dumps(criteria).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        found: list[dict[str, Any]] = json.load(response)
    return found


@dataclass
class Resumed:
    """A run that was killed while its progress was seen to move, and was resumed."""

    page: str
    """What the command line says is the run's page."""
    flow_run_id: str
    seen: float
    """The percentage at which it was killed."""
    output: str
    """What `resume` printed."""


def resumed_run(place: Place, url: str, folder: Path) -> Resumed:
    """Load the sample and some bad records, kill that when its progress has moved, and resume it."""
    source = folder / "january.csv"
    source.write_text("\n".join([(place.project / "data" / "flights.csv").read_text().rstrip(), *BAD, ""]))
    place.environment["PREFECT_API_URL"] = f"{url}/api"
    script = folder / "slow.py"
    script.write_text(SLOW)
    log = folder / "killed.log"
    with log.open("wb") as output:
        killed = subprocess.Popen(
            [sys.executable, script, "run", "load-flights", source, "--chunk-days", "2"],
            env=place.environment,
            stdout=output,
            stderr=output,
        )
        try:
            until(lambda: killed.poll() is not None or (moving(url) and done(place) == DONE))
        finally:
            killed.kill()
            killed.wait()
    if killed.returncode != -signal.SIGKILL:
        raise RuntimeError(f"the run ended before its progress was seen to move:\n{log.read_text()}")
    (artifact,) = moving(url)
    resumed = place.run("resume")
    if resumed.returncode:
        raise RuntimeError(f"the run was not resumed:\n{resumed.stdout}{resumed.stderr}")
    page = resumed.stdout.rstrip().rsplit(" ", 1)[1]
    return Resumed(page, artifact["flow_run_id"], float(artifact["data"]), resumed.stdout)


def done(place: Place) -> int:
    """Return how many chunks the checkpoint has."""
    try:
        with closing(
            sqlite3.connect(f"file:{place.environment['DURABLE_FLIGHTS_HOME']}/database.db?mode=ro", uri=True)
        ) as database:
            return int(database.execute("SELECT count(*) FROM steps").fetchone()[0])
    except sqlite3.OperationalError:  # it is not there yet, or has no tables
        return 0


def moving(url: str) -> list[dict[str, Any]]:
    """Return the artifacts of progress that has moved, and is not at its end."""
    found = ask(url, "artifacts", artifacts={"key": {"any_": [PROGRESS]}})
    return [artifact for artifact in found if 0 < float(artifact["data"]) < 100]


@contextmanager
def browser(scheme: str = "light") -> Iterator[Page]:
    """Yield a page of a Chromium that has seen nothing before, in light or dark."""
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as profile:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=chromium(),
            args=OPTIONS,
            viewport={"width": 1360, "height": 800},
            color_scheme="dark" if scheme == "dark" else "light",
            locale="en-GB",
            timezone_id="UTC",
        )
        context.set_default_timeout(30_000)
        context.add_init_script(f"localStorage.setItem('theme', '{scheme}')")
        yield context.pages[0]
        context.close()


def visit(url: str, run: Resumed, scheme: str = "light") -> Iterator[tuple[str, Page]]:
    """Open the pages of a resumed run, and yield each with a name for its picture, when its content is there."""
    artifacts = {
        found["key"]: f"{url}/v2/artifacts/artifact/{found['id']}"
        for found in ask(url, "artifacts", artifacts={"flow_run_id": {"any_": [run.flow_run_id]}})
    }
    with browser(scheme) as page:
        page.goto(f"{url}/v2/runs/flow-run/{run.flow_run_id}?tab=TaskRuns")
        page.get_by_text(DAY).first.wait_for()
        yield "run", page
        page.get_by_role("tab", name="Artifacts").click()
        page.get_by_text("were done before").wait_for()
        yield "artifacts", page
        page.goto(artifacts["load-flights-chunks"])
        page.get_by_role("cell", name="done", exact=True).first.wait_for()
        page.get_by_text("rejected records, with line and reason").first.wait_for()
        yield "load", page
        page.goto(artifacts["load-flights-resumed"])
        page.get_by_role("cell", name="skipped, done before").wait_for()
        page.get_by_text("what this run has skipped").first.wait_for()
        yield "resumed", page
        (deployment,) = ask(url, "deployments")
        page.goto(f"{url}/v2/deployments/deployment/{deployment['id']}?tab=Description")
        page.get_by_text("finished chunks are skipped").first.wait_for()
        yield "deployment", page
        page.goto(f"{url}/v2/automations")
        page.get_by_text("durable-flights").first.wait_for()
        yield "automations", page


def main() -> None:
    """Make the default project, and keep the pictures."""
    from cookiecutter.main import cookiecutter

    if not chromium():
        sys.exit("there is no Chromium here; on Debian: apt-get install chromium")
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        project = Path(cookiecutter(str(ROOT), no_input=True, output_dir=folder))
        place = Place.of(project, project)
        with place.ui() as url:
            run = resumed_run(place, url, project)
            place.deploy(url)
            for scheme, ending in SCHEMES.items():
                for name, page in visit(url, run, scheme):
                    picture = PICTURES / f"{name}{ending}.png"
                    if name == "artifacts":
                        page.mouse.move(760, 700)
                        page.mouse.wheel(0, 2000)
                    page.wait_for_load_state("networkidle")
                    time.sleep(2)  # for what moves into its place
                    page.screenshot(path=picture)
                    print(f"docs/screens/{picture.name}: {picture.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
