"""`make doctor`: each thing that can be wrong is one line, which says what to do."""

import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Crashed, Failed, Scheduled
from pydantic import SecretStr

from {{ cookiecutter.package_name }}.durable import (
    alerts,
    checkpoints,
    discovery,
    doctor,
    drill,
    heartbeats,
    labels,
    results,
    upserts,
)
from {{ cookiecutter.package_name }}.durable.checkpoints import IN_STORE, REMEMBERS
from {{ cookiecutter.package_name }}.durable.errors import RunFailedError
from {{ cookiecutter.package_name }}.durable.labels import AlertSettings
from {{ cookiecutter.package_name }}.durable.prefect_yaml import faults
from {{ cookiecutter.package_name }}.durable.probe import StoreError
from {{ cookiecutter.package_name }}.durable.settings import (
    PACKAGE,
    PREFIX,
    PROJECT,
    ROOT,
    ProjectSettings,
    settings,
)
from {{ cookiecutter.package_name }}.durable.steps import checkpoint

from tests.support import sink, toys

NOBODY = "http://127.0.0.1:9/api"


@pytest.fixture
def alone(api: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a project that nobody else deploys on the tests' server meanwhile; what is deployed has it."""
    name = f"{PROJECT}-{uuid4()}"
    monkeypatch.setattr(doctor, "PROJECT", name)
    for module in (alerts, heartbeats):
        monkeypatch.setattr(module, "AUTOMATION", name)
    return name


def findings() -> dict[str, doctor.Finding]:
    return {finding.what: finding for finding in doctor.look()}


def wrong(what: str) -> str:
    """What is said of a thing, which has to be wrong."""
    found = doctor._finding(what, doctor.CHECKS[what])
    assert found.verdict == "wrong", found
    assert "\n" not in found.said
    return found.said


@pytest.mark.usefixtures("alone")
def test_set_up_that_is_right_is_said_line_by_line() -> None:
    found = findings()
    assert list(found) == [*doctor.CHECKS, "server", *doctor.ASKED]
    bad = {what: finding.said for what, finding in found.items() if finding.verdict == "wrong"}
    # Nothing is deployed. A project without an example has no flow of its own yet, but the tests' ones. A temporary
    # server runs no triggers.
    assert bad.keys() - {"services"} == {"automation", "workers"}, bad


def test_without_a_server_nothing_is_asked_of_it() -> None:
    with temporary_settings({PREFECT_API_URL: None}):
        assert doctor._finding("server", lambda: doctor._server("")).verdict == "wrong"
    with temporary_settings({PREFECT_API_URL: NOBODY}):
        assert "no Prefect server answers" in doctor._finding("server", lambda: doctor._server(NOBODY)).said


def project(monkeypatch: pytest.MonkeyPatch, **said: object) -> None:
    """Have `pyproject.toml` say something else."""
    monkeypatch.setattr(doctor, "_project", lambda: said)


def test_python_that_is_not_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    project(monkeypatch, **{"requires-python": ">=3.99"})
    assert "is not >=3.99; make another environment" in wrong("Python")


def test_packages_out_of_their_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    other = 'pydantic<1; python_version < "3"'
    project(monkeypatch, dependencies=["prefect<3", "there-is-no-such-package>=1", other, "pydantic"])
    said = wrong("packages")
    assert "is not <3; there-is-no-such-package is missing; install what pyproject.toml says" in said
    assert "pydantic" not in said


def test_setting_that_nothing_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}QWXYZ", "1")
    assert wrong("settings") == f"nothing reads {PREFIX}QWXYZ; correct the name, or delete it"


def test_fault_of_several_checks_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise doctor.WrongError("there is no setting WORKRES")

    monkeypatch.setattr(doctor, "CHECKS", {"settings": fail, "flows": fail})
    monkeypatch.setattr(doctor, "_look_at_server", lambda: iter(()))
    first, second = doctor.look()
    assert (first.verdict, first.said) == ("wrong", "there is no setting WORKRES")
    assert (second.verdict, second.said) == ("-", "not checked: see settings")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("PREFECT_API_ULR", "Prefect reads no PREFECT_API_ULR; did you mean PREFECT_API_URL?"),
        ("PREFECT_QWXYZ", "Prefect reads no PREFECT_QWXYZ of `.env`; correct the name, or delete it"),
        (f"{PREFIX[:-2]}_WORKERS", f"did you mean {PREFIX}WORKERS?"),
    ],
)
def test_misspelt_prefix(monkeypatch: pytest.MonkeyPatch, name: str, said: str) -> None:
    others = "PREFECT_LOGGING_LOGGERS_X_LEVEL", "PREFECT_INTEGRATIONS_X", "PREFECT_DATABASE_PASSWORD"
    for known in ("PREFECT_API_URL", "PREFECT_PROFILE", *others):
        monkeypatch.setattr(doctor, "env_variables", lambda known=known: {known: "1"})
        assert doctor._finding("settings", doctor.CHECKS["settings"]).verdict == "ok"
    monkeypatch.setattr(doctor, "env_variables", lambda: {name: "1"})
    assert wrong("settings").endswith(said)


def test_misspelt_variable_of_prefect_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_OF_ANOTHER_PROGRAM", "1")
    assert doctor._finding("settings", doctor.CHECKS["settings"]).verdict == "ok"
    monkeypatch.setenv("PREFECT_API_ULR", "http://127.0.0.1:4200/api")
    assert wrong("settings") == "Prefect reads no PREFECT_API_ULR; did you mean PREFECT_API_URL?"


def test_flow_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "PACKAGES", ["nowhere"])
    assert wrong("flows").endswith(": ModuleNotFoundError: No module named 'nowhere'")
    finding = doctor._finding("settings", doctor.CHECKS["settings"])
    assert (finding.verdict, finding.said) == ("-", "not checked: see flows")


def test_no_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "flows", dict)
    assert "make flow NAME=orders" in wrong("flows")


def test_deployment_whose_flow_is_deleted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file, entrypoint = tmp_path / "prefect.yaml", f"{PACKAGE}.flows.gone.flow.load_gone"
    file.write_text(f"deployments:\n  - name: load-gone\n    entrypoint: {entrypoint}\n")
    monkeypatch.setattr(doctor, "faults", lambda: faults(file))
    assert wrong("prefect.yaml") == f"prefect.yaml:3: there is no flow {entrypoint}; correct it"


def test_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LEAST_DISK", 1 << 60)
    assert f"are free in {settings.home}; delete old results, or set {PREFIX}HOME" in wrong("disk")


@pytest.mark.usefixtures("api")
def test_store_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def register() -> str:
        raise StoreError("results cannot be kept: set another")

    monkeypatch.setattr(results, "register", register)
    assert wrong("store") == "results cannot be kept: set another"


@pytest.mark.skipif(not upserts.WRITES, reason="no database")
def test_database_that_lacks_migrations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upserts, "pending", lambda: ["1a (add a column)", "2b (add another)"])
    said = "migrations are not applied: 1a (add a column), 2b (add another); apply them: make setup"
    assert wrong("database") == said


@pytest.mark.skipif(not upserts.WRITES, reason="no database")
def test_database_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its URL and the reason are said once, not again for what is kept in it."""

    def prepare() -> str:
        raise upserts.ERRORS[0]("file is not\na database")

    monkeypatch.setattr(upserts, "prepare", prepare)
    said = f"{upserts.place()} fails: file is not a database; mend it, or set {PREFIX}DATABASE_URL"
    assert wrong("database") == said
    found = doctor._finding("jobs", doctor.CHECKS["jobs"])
    elsewhere = checkpoints.IN_STORE and results.NEEDS_SERVER
    assert found.verdict == "-"
    assert found.said.endswith("`make status` shows them" if elsewhere else "see the lines above")


@pytest.mark.skipif(not upserts.WRITES, reason="no database")
def test_database_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    discovery.flows()
    upserts.prepare()
    sink.release()
    monkeypatch.setitem(vars(vars(upserts)["database_settings"]), "database_url", SecretStr(sink.read_only()))
    try:
        said = wrong("database")
    finally:
        sink.release()
    assert re.search(r" fails: .*read.?only.*; mend it, or set \w+_DATABASE_URL$", said), said


def test_home_that_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "file"
    home.touch()
    monkeypatch.setattr(doctor, "settings", settings.model_copy(update={"home": home}))
    assert wrong("disk") == f"{home} is no folder (File exists); set {PREFIX}HOME to one"


@pytest.mark.skipif(not REMEMBERS or (IN_STORE and results.NEEDS_SERVER), reason="no checkpoints but in a store")
def test_job_that_no_flow_has() -> None:
    upserts.prepare()
    for job in (f"{toys.FLOW}/toys", "load-gone/orders"):
        checkpoint(job, upserts.epoch()).remaining(["1"])
    assert wrong("jobs") == (
        "no flow has the job load-gone/orders: give its flow the old name back, or forget what is done:"
        " make reset JOB=load-gone/orders"
    )


def test_run_that_was_killed() -> None:
    run = uuid4()
    marker = settings.home / "runs" / f"{run}.run"
    marker.parent.mkdir()
    marker.write_text(toys.FLOW)
    assert wrong("runs") == f"killed flow runs: 1, the first is {run}; `make resume` resumes it"
    marker.write_text("load-gone")
    advice = "its flow load-gone is gone; forget it: make reset JOB=load-gone/gone"
    assert wrong("runs") == f"killed flow runs: 1, the first is {run}; {advice}"


def test_cluster_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_for_cluster() -> None:
        raise ConnectionError("nothing answers there")

    monkeypatch.setitem(ProjectSettings.names, "cluster_address", "here")
    monkeypatch.setattr(doctor, "look_for_cluster", look_for_cluster)
    assert wrong("cluster") == "nothing answers there"


# The server


def asked(what: str, **client: Any) -> doctor.Finding:
    """What is said where the server answers so."""
    return doctor._finding(what, lambda: doctor.ASKED[what](SimpleNamespace(**client)))  # type: ignore[arg-type]


def test_server_of_another_version() -> None:
    found = asked("versions", api_version=lambda: "2.20.1")
    assert found.verdict == "wrong"
    assert "2.20.1, and this project" in found.said


@pytest.mark.parametrize(("seconds", "verdict"), [(0, "ok"), (3600, "wrong"), (-60, "wrong")])
def test_clocks_apart(seconds: int, verdict: str) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
    answer: Callable[[str], Any] = lambda _: SimpleNamespace(headers={"Date": date})  # noqa: E731
    found = asked("clock", _client=SimpleNamespace(get=answer))
    assert found.verdict == verdict
    assert verdict == "ok" or "apart; set both by NTP" in found.said


@pytest.mark.usefixtures("api")
def test_services_that_the_server_does_not_run() -> None:
    with get_client(sync_client=True) as client:
        said = client._client.get("/admin/settings").json()
    services = said["server"]["services"]
    assert doctor.SERVICES.keys() <= services.keys()
    answering = SimpleNamespace(get=lambda _: SimpleNamespace(json=lambda: said))
    for name in doctor.SERVICES:
        services[name]["enabled"] = True
    assert asked("services", _client=answering).verdict == "ok"
    services["triggers"]["enabled"] = False
    found = asked("services", _client=answering)
    assert found.verdict == "wrong"
    assert "triggers (automations never act: " in found.said
    assert "set PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED=true for the server" in found.said
    assert "late_runs" not in found.said


@pytest.mark.usefixtures("api")
def test_server_that_does_not_say_which_services_it_runs() -> None:
    with get_client(sync_client=True) as client:
        nowhere = SimpleNamespace(get=lambda path: client._client.get(f"/nowhere{path}"))
        assert asked("services", _client=nowhere).verdict == "-"


def automation(**given: object) -> SimpleNamespace:
    trigger = SimpleNamespace(match_related=given.pop("match_related", heartbeats.OURS))
    return SimpleNamespace(**{"name": "things: alerts", "enabled": True, "trigger": trigger} | given)


@pytest.mark.parametrize(
    ("automation", "said"),
    [
        (automation(enabled=False), "is switched off"),
        (automation(match_related=heartbeats.OURS[:1]), "is of another version of this project; replace it"),
    ],
)
def test_automation(automation: SimpleNamespace, said: str) -> None:
    found = asked("automation", read_automations_by_name=lambda _: [automation])
    assert (found.verdict, said in found.said) == ("wrong", True)


@pytest.mark.parametrize(
    ("url", "automations", "verdict", "said"),
    [
        ("", [], "-", "nobody is told"),
        ("", [automation()], "wrong", "alerts are still sent; end that: make deploy"),
        ("https://example.com", [], "wrong", "make deploy"),
        ("https://example.com", [automation(enabled=False)], "wrong", "is switched off"),
        ("https://example.com", [automation()], "ok", "is on"),
        ("https://later.example.com", [automation()], "wrong", "send them there: make deploy"),
    ],
)
def test_alerts(
    url: str, automations: list[SimpleNamespace], verdict: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "settings", AlertSettings(alert_url=SecretStr(url)))
    monkeypatch.setattr(alerts, "go_to", lambda *_: url != "https://later.example.com")
    found = asked("alerts", read_automations_by_name=lambda _: automations)
    assert found.verdict == verdict
    assert said in found.said


def test_automation_and_workers_of_a_real_server(alone: str) -> None:
    with get_client(sync_client=True) as client:

        def said(what: str) -> str:
            return doctor._finding(what, lambda: doctor.ASKED[what](client)).said

        assert "create it: make deploy" in said("automation")
        heartbeats.watch_heartbeats(60)
        assert said("automation").endswith("is on")
        for known in client.read_automations_by_name(heartbeats.AUTOMATION):
            client.delete_automation(known.id)
        assert f"there is no work pool {alone}" in said("workers")
        client.create_work_pool(WorkPoolCreate(name=alone, type="process"))
        try:
            assert f"no worker polls the work pool {alone}; start one: make worker" == said("workers")
            client._client.patch(f"/work_pools/{alone}", json={"is_paused": True})
            assert "is paused" in said("workers")
        finally:
            client.delete_work_pool(alone)


@pytest.mark.usefixtures("api")
def test_command_ends_with_1_if_something_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}QWXYZ", "1")
    command = [sys.executable, "-m", "{{ cookiecutter.package_name }}", "doctor"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "wrong settings: nothing reads" in done.stdout
    assert "ok    Python: 3." in done.stdout
    assert done.stderr == ""


# The crash drill; `test_deployment.py` holds one


class Server(SimpleNamespace):
    """A server on which the run of a drill ends so each time that it is run."""

    def __init__(self, *ends: Any, deployed: bool = True) -> None:
        self.ends = list(ends)
        like = dict.fromkeys(("path", "pull_steps", "work_pool_name", "work_queue_name", "job_variables"))
        self.deployments = [SimpleNamespace(entrypoint=f"{PACKAGE}.flows.x", **like)] if deployed else []
        self.deleted: list[str] = []
        self.run = SimpleNamespace(id=uuid4(), run_count=0, name="any", state=None, state_name="")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("delete_"):
            return lambda _: self.deleted.append(name)
        return lambda *_, **__: []

    def read_deployments(self, **_: Any) -> Any:
        return self.deployments

    def create_flow_run_from_deployment(self, _: Any) -> Any:
        return self.run

    def read_flow_run(self, _: Any) -> Any:
        if self.run.state is None or self.run.state.is_scheduled():
            self.run.state = self.ends.pop(0)
            self.run.state_name = self.run.state.name
            self.run.run_count += not self.run.state.is_scheduled()
        return self.run

    def set_flow_run_state(self, _: Any, state: Any, **__: Any) -> None:
        self.run.state = state


def test_drill_that_is_right_leaves_nothing_on_the_server() -> None:
    server = Server(Crashed(), Completed())
    assert drill.hold(server).startswith("a run was Crashed 0 s after")  # type: ignore[arg-type]
    assert server.deleted == ["delete_flow_run", "delete_deployment"]


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ([Scheduled()], "a run was not run and killed within 0 s, and is Scheduled; read the worker's log"),
        ([Failed(message="no table\nhere")], "and is Failed (no table here); read its log"),
        ([Completed()], "be Crashed by the kill of its process, and is Completed"),
        ([Crashed(), Scheduled()], "a run was not resumed within 0 s, and is Scheduled"),
        ([Crashed(), Crashed(message="no such image")], "complete in a new process, and is Crashed (no such image)"),
    ],
)
def test_drill_that_goes_wrong(ends: list[Any], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill, "WAIT", 0.0)
    server = Server(*ends)
    with pytest.raises(RunFailedError, match=re.escape(said)):
        drill.hold(server)  # type: ignore[arg-type]
    assert server.deleted == ["delete_deployment"], "its run is to be looked at"


def test_drill_whose_process_ended_before_it_began() -> None:
    server = Server(Crashed(message="no such image"), Completed())
    server.run.run_count = -1
    with pytest.raises(RunFailedError, match="was to be Crashed by the kill of its process, and is Crashed"):
        drill.hold(server)  # type: ignore[arg-type]


def test_drill_where_nothing_is_deployed() -> None:
    with pytest.raises(RunFailedError, match="no flow of this project is deployed"):
        drill.hold(Server(deployed=False))  # type: ignore[arg-type]


def test_drill_without_a_server() -> None:
    with temporary_settings({PREFECT_API_URL: None}):
        *_, last = doctor.look(deep=True)
    assert (last.verdict, last.what) == ("wrong", "crash drill")


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("resumes", [True, False])
def test_resumed_run_that_does_not_find_what_is_done(resumes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill, "flow_run", SimpleNamespace(id=uuid4(), run_count=2))
    monkeypatch.setattr(drill, "RESUMES", resumes)
    state = drill.crash_drill(return_state=True)
    assert state.is_failed() == resumes
    assert "a resumed run does not find what is done" in str(state.message) or not resumes
    assert not [status for status in checkpoints.status() if status[0].startswith(drill.FLOW)]
