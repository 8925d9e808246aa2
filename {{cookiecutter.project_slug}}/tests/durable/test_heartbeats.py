"""The server takes the end of a run's heartbeats for its end: a run of a deployment is killed, elsewhere as it were."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest
from prefect import Task, get_client
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Crashed, Failed, Running

from {{ cookiecutter.package_name }}.durable import resume
from {{ cookiecutter.package_name }}.durable.heartbeats import AUTOMATION
from {{ cookiecutter.package_name }}.durable.server import ServerError, check, drain
from {{ cookiecutter.package_name }}.durable.settings import PREFIX, ROOT, settings

from tests.support.deploying import FLOW, MAKE, copy, deployed, environment_of, make, stop
from tests.support.prefect_home import prepared

TIMEOUT = 120
"""Seconds for anything to happen."""
RUN = """
import sys, time
from prefect import get_client
from prefect.flow_engine import run_flow
from {{ cookiecutter.package_name }}.flows.probes import flow

if sys.argv[2:]:
    flow.run_chunks = lambda *_, **__: time.sleep(3600)
with get_client(sync_client=True) as client:
    flow_run = client.read_flow_run(sys.argv[1])
run_flow(flow.load_probes, flow_run=flow_run)
"""
FAILED = """load-probes: probes is Failed
flow: load-probes
job: load-probes/probes
done: 2 of 3 chunks
reason: 1 of 3 chunks failed, the first with InputError; its log says more
next: correct the cause, then .venv/bin/prefect flow-run retry {id}
page: {url}/runs/flow-run/{id}"""


class Receiver(ThreadingHTTPServer):
    """A webhook that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.texts: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/a-secret"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.server.texts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def ui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server with all its services, as `make ui` starts it: that of the other tests may have none."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    environment = os.environ | {
        **prepared(tmp_path / "prefect"),
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_UI_ENABLED": "false",
    }
    monkeypatch.setenv("PREFECT_API_URL", url)
    log = tmp_path / "log"
    with log.open("w") as output, temporary_settings({PREFECT_API_URL: url}):
        server = subprocess.Popen(
            [*MAKE, "ui"], cwd=ROOT, env=environment, stdout=output, stderr=output, text=True, start_new_session=True
        )
        # The events of this process go to one server, for as long as they are not drained.
        drain()
        try:
            wait(lambda: answers(url), log)
            yield url
        finally:
            drain()
            stop(server)


def answers(url: str) -> bool:
    try:
        check(url)
    except ServerError:
        return False
    return True


def wait(happens: Callable[[], object], log: Path) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not happens():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


# It starts a dozen programs, which takes long on a busy machine.
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_run_is_crashed_by_the_server_and_resumed(
    ui: str, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    project = copy(tmp_path)
    monkeypatch.setenv(f"{PREFIX}ALERT_URL", receiver.url)
    monkeypatch.setenv("IMAGE", "any")
    assert "--within must be at least 10" in make(project, "deploy", "WITHIN=9").stderr
    with deployed(project, "WITHIN=10") as deployment, get_client(sync_client=True) as client:
        # The first one is changed, not a second one made.
        assert make(project, "deploy", "WITHIN=10").returncode == 0
        (automation,) = client.read_automations_by_name(AUTOMATION)
        assert automation.description == "A run that has sent no heartbeat for 10 s is Crashed."
        # Other projects on the server have their own automations, and may have flows of the same names.
        other = client.create_deployment(client.create_flow_from_name(FLOW), "load-others")
        silent = client.create_flow_run_from_deployment(other, state=Running())
        emit_event(
            "prefect.flow-run.heartbeat",
            {"prefect.resource.id": f"prefect.flow-run.{silent.id}"},
            related=[
                {"prefect.resource.id": f"prefect.flow.{silent.flow_id}", "prefect.resource.role": "flow"}
                | {"prefect.resource.name": FLOW},
                {"prefect.resource.id": f"prefect.deployment.{other}", "prefect.resource.role": "deployment"},
            ],
        )
        flow_run = client.create_flow_run_from_deployment(deployment.id)

        def state() -> State:
            found = client.read_flow_run(flow_run.id).state
            assert found
            return found

        def heartbeats() -> list[object]:
            resource = {"id": [f"prefect.flow-run.{flow_run.id}"]}
            wanted = {"event": {"name": ["prefect.flow-run.heartbeat"]}, "resource": resource}
            return list(httpx.post(f"{ui}/events/filter", json={"filter": wanted}).raise_for_status().json()["events"])

        # With a home of its own, as on another machine: nothing is left of it here.
        environment = environment_of(project) | {f"{PREFIX}HOME": str(tmp_path / "elsewhere")}
        command = [sys.executable, "-c", RUN, str(flow_run.id), "sleep"]
        run = subprocess.Popen(command, env=environment, text=True, start_new_session=True)
        try:
            wait(heartbeats, log)
            assert state().is_running()
        finally:
            # With the processes that it has started, as a machine dies.
            os.killpg(run.pid, signal.SIGKILL)
            stop(run)
        wait(lambda: not state().is_running(), log)
        assert state().is_crashed()
        assert state().message == "No heartbeat for 10 s: the process is gone."
        assert client.read_flow_run(silent.id).state_name == "Running"
        # On a busy machine it was late first.
        wait(lambda: [text for text in receiver.texts if "is Crashed" in text and "next: make resume" in text], log)
        task_run = client.create_task_run(Task(lambda: None, name="task"), flow_run.id, "0", state=Running())
        done = make(project, "resume")
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"Flow run {flow_run.name} is scheduled; a worker will resume it.\n"
        assert state().is_scheduled()
        assert client.read_task_run(task_run.id).state_name == "Crashed"
        assert "Nothing to resume" in make(project, "resume").stdout

        # A worker that saw the process die is waited for until it says that it has done all.
        monkeypatch.setattr(resume, "REPORTS", 3600.0)
        killed: State = Crashed(message=f"{resume.FIRST_REPORT}: -9.")
        client.set_flow_run_state(flow_run.id, killed, force=True)
        related = {"prefect.resource.id": f"prefect.flow-run.{flow_run.id}", "prefect.resource.role": "flow-run"}
        emit_event(resume.EXECUTED, {"prefect.resource.id": "prefect.worker.any"}, related=[related])
        (settings.home / "runs").mkdir(parents=True)
        (settings.home / "runs" / f"{flow_run.id}.run").touch()
        assert resume.resume_dead_runs(lambda _: None)
        assert state().is_scheduled()

        # People are told of a run that fails, and of one that no worker takes up.
        folder = tmp_path / "files"
        shutil.copytree(project / "data" / "probes", folder)
        (folder / "bad.csv").write_text("id,name,amount,739190739\n1,739190739,739190739,739190739\n")
        failing = client.create_flow_run_from_deployment(deployment.id, parameters={"folder": str(folder)})
        late = client.create_flow_run_from_deployment(deployment.id)
        theirs = client.create_flow_run_from_deployment(other)
        client.set_flow_run_state(theirs.id, Failed(), force=True)
        subprocess.run([*command[:-2], str(failing.id)], env=environment, check=False, timeout=TIMEOUT)
        failed = FAILED.format(url=ui.removesuffix("/api"), id=failing.id)
        wait(lambda: failed in receiver.texts, log)
        said = f"{FLOW}: {late.name} is Late"
        wait(lambda: [text for text in receiver.texts if said in text and "next: make worker" in text], log)
        assert "739190739" not in "".join(receiver.texts)
        # By the server and above; not when it was resumed.
        assert len([text for text in receiver.texts if "is Crashed" in text]) == 2
        assert theirs.name not in "".join(receiver.texts)
