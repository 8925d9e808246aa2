"""Checks of the setup: `make doctor` prints a line for each, with what is wrong and what to do.

It checks what commands and runs rely on. It writes a probe to the result storage and deletes it, and creates the
tables of a new database, as a run would. With `DEEP=1` it also runs a crash drill; see `drill.py`.
"""

import os
import platform
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from difflib import get_close_matches
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, NamedTuple

import prefect.settings
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from pydantic_settings import BaseSettings

from . import alerts, checkpoints, deployments, discovery, drill, heartbeats, labels, results, server, upserts
from .errors import INSTALL, FlowsError, reason
from .prefect_yaml import faults
from .runners import look_for_cluster
from .runs import dead
from .settings import PREFIX, PROJECT, ROOT, ProjectSettings, env_variables, settings
from .steps import suffix

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.schemas.automations import Automation

LEAST_DISK = 1 << 30
"""The minimum of free bytes on the disk of `home`."""
CLOCKS_APART = 5.0
"""The maximum difference in seconds from the server's clock: heartbeats and schedules rely on both."""
UNLISTED = ("PREFECT__", "PREFECT_INTEGRATIONS_", "PREFECT_LOGGING_", "PREFECT_PROFILE", "PREFECT_DATABASE_PASSWORD")
"""What variables begin with that `prefect.settings` does not list. The last one is of `compose.yaml`."""
SERVICES = {
    "triggers": "automations never act: crashed runs go unnoticed, and no alert is sent",
    "event_persister": "events are not kept",
    "foreman": "a stopped worker still looks ready",
    "late_runs": "no run becomes Late",
    "repossessor": "a killed run blocks the next one",
    "scheduler": "schedules start no run",
    "task_run_recorder": "task runs are not recorded",
}
"""The services of a Prefect server that the project relies on, and what happens without them."""


class Finding(NamedTuple):
    """The outcome of a check."""

    verdict: str
    """`ok`, `wrong`, or `-` if nothing was checked."""
    what: str
    said: str
    """One line; for `wrong`, it says what to do."""


class WrongError(Exception):
    """Something is wrong. The message says what, and what to do."""


class NothingError(Exception):
    """The check does not apply. The message says why."""


def look(deep: bool = False) -> Iterator[Finding]:
    """Yield a finding for each check, as soon as it is made.

    Args:
        deep: whether to run a crash drill at the end, which takes a minute or two.
    """
    said: dict[str, str] = {}
    for what, check in CHECKS.items():
        finding = _finding(what, check)
        if finding.verdict == "wrong" and (first := said.setdefault(finding.said, what)) != what:
            finding = Finding("-", what, f"not checked: see {first}")
        yield finding
    found = {}
    for finding in _look_at_server():
        found[finding.what] = finding.verdict
        yield finding
    if deep and found.get("workers") != "ok":
        yield Finding("wrong", "crash drill", "not held: it needs a server and a worker; see the lines above")
    elif deep:
        from prefect import get_client

        with get_client(sync_client=True) as client:
            yield _finding("crash drill", lambda: drill.hold(client))


def _look_at_server() -> Iterator[Finding]:
    from prefect import get_client
    from prefect.settings import PREFECT_API_URL

    if not (url := PREFECT_API_URL.value()):
        stays = f"`{deployments.START_SERVER}` starts one that stays"
        yield Finding("-", "server", f"PREFECT_API_URL is not set: each run starts one for itself; {stays}")
        return
    found = _finding("server", lambda: _server(url))
    yield found
    if found.verdict != "ok":
        return
    with get_client(sync_client=True) as client:
        for what, ask in ASKED.items():
            yield _finding(what, lambda ask=ask: ask(client))  # type: ignore[misc]


def _finding(what: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding("ok", what, check())
    except NothingError as error:
        return Finding("-", what, str(error))
    except Exception as error:
        # A library may raise anything: report it as the finding.
        return Finding("wrong", what, reason(error))


# This machine


def _python() -> str:
    allowed = _project()["requires-python"]
    here = platform.python_version()
    if not SpecifierSet(allowed).contains(here, prereleases=True):
        raise WrongError(f"{here} is not {allowed}; make another environment: make setup PYTHON=python3.x")
    return f"{here}, in {sys.prefix}"


def _packages() -> str:
    wrong = []
    for requirement in map(Requirement, _project()["dependencies"]):
        if requirement.marker and not requirement.marker.evaluate():
            continue
        try:
            here = version(requirement.name)
        except PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(here, prereleases=True):
            wrong.append(f"{requirement.name} {here} is not {requirement.specifier}")
    if wrong:
        raise WrongError(f"{'; '.join(wrong)}; {INSTALL}")
    return f"Prefect {version('prefect')}; all packages are within the bounds of pyproject.toml"


def _settings() -> str:
    try:
        discovery.flows()
    except FlowsError:
        raise NothingError("not checked: see flows") from None
    known = {f"{PREFIX}{name.upper()}" for name in (*ProjectSettings.names, "env_file")}
    in_file = list(map(str.upper, env_variables()))
    names = {*map(str.upper, os.environ), *in_file}
    given = {name for name in names if name.startswith(PREFIX)}
    if unknown := sorted(given - known):
        raise WrongError(f"nothing reads {', '.join(unknown)}; correct the name, or delete it")
    for name in sorted(names):
        if name.startswith("PREFECT_") and not name.startswith(UNLISTED) and not hasattr(prefect.settings, name):
            if meant := get_close_matches(name, list(_prefect_names(prefect.settings.Settings)), 1, 0.9):
                raise WrongError(f"Prefect reads no {name}; did you mean {meant[0]}?")
            # The environment may have variables of other programs.
            if name in in_file:
                raise WrongError(f"Prefect reads no {name} of `.env`; correct the name, or delete it")
    for name in in_file:
        if name not in known and (meant := get_close_matches(name, known, 1, 0.9)):
            raise WrongError(f"nothing reads {name} of `.env`; did you mean {meant[0]}?")
    return f"{len(given)} given; `.env.example` lists all"


def _prefect_names(settings_class: type[BaseSettings]) -> Iterator[str]:
    """Yield the variables of Prefect's settings, without their older names."""
    for name, field in settings_class.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseSettings):
            yield from _prefect_names(field.annotation)
        else:
            yield f"{settings_class.model_config['env_prefix']}{name}".upper()


def _flows() -> str:
    found = discovery.flows()
    if not found:
        raise WrongError("no flow yet; write one with: make flow NAME=orders")
    return ", ".join(found)


def _deployments() -> str:
    if found := faults():
        raise WrongError(f"{'; '.join(found)}; correct it")
    return "Prefect knows all that it says, and its flows are there"


def _disk() -> str:
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WrongError(f"{settings.home} is no folder ({error.strerror}); set {PREFIX}HOME to one") from None
    free = shutil.disk_usage(settings.home).free
    if free < LEAST_DISK:
        raise WrongError(f"{free >> 20} MiB are free in {settings.home}; delete old results, or set {PREFIX}HOME")
    return f"{free >> 30} GiB are free in {settings.home}"


def _store() -> str:
    with server.server() if results.NEEDS_SERVER else nullcontext():
        return results.register()


def _database() -> str:
    if not upserts.WRITES:
        raise NothingError("this project has none")
    discovery.flows()
    try:
        upserts.probe()
        ready, version_of, pending = upserts.prepare(), upserts.check_rights(), upserts.pending()
    except upserts.MISTAKES:
        raise
    except OSError as error:
        raise WrongError(f"its folder cannot be made: {error.strerror}; set {PREFIX}HOME to another") from None
    except upserts.ERRORS as error:
        raise WrongError(f"{upserts.place()} fails: {reason(error)}; mend it, or set {PREFIX}DATABASE_URL") from None
    if pending:
        raise WrongError(f"migrations are not applied: {', '.join(pending)}; apply them: make setup")
    return f"{ready}; {version_of}"


def _jobs() -> str:
    if checkpoints.IN_STORE and results.NEEDS_SERVER:
        raise NothingError("their checkpoints are in the store: `make status` shows them")
    flows = discovery.flows()
    failures: tuple[type[Exception], ...] = (OSError, *upserts.ERRORS)
    try:
        upserts.probe()
        upserts.prepare()
        ours = suffix(upserts.epoch())
        jobs = [job.removesuffix(ours) for job, _, _ in checkpoints.status()]
    except failures:
        raise NothingError("their checkpoints cannot be read; see the lines above") from None
    if left := [job for job in jobs if job.partition("/")[0] not in flows]:
        raise WrongError(
            f"no flow has the job {', '.join(left)}: give its flow the old name back, or forget what is done:"
            f" make reset JOB={left[0]}"
        )
    return f"{len(jobs)} known; see `make status`"


def _zombies() -> str:
    if runs := dead():
        advice = runs[0].advice(discovery.flows())
        raise WrongError(f"killed flow runs: {len(runs)}, the first is {runs[0].id}; {advice}")
    return "no run was killed"


def _cluster() -> str:
    if "cluster_address" not in ProjectSettings.names:
        raise NothingError("chunks run in threads")
    look_for_cluster()
    return "the one that is set answers, or each run starts one"


# The server


def _server(url: str) -> str:
    server.check(url)
    return url


def _versions(client: "SyncPrefectClient") -> str:
    here, there = version("prefect"), str(client.api_version())
    if here.split(".")[:2] != there.split(".")[:2]:
        raise WrongError(f"the server has Prefect {there}, and this project {here}; bring both to one version")
    return f"the server has Prefect {there}"


def _clock(client: "SyncPrefectClient") -> str:
    answer = client._client.get("/health")  # Prefect's client itself shows no headers
    if not (said := answer.headers.get("Date")):
        raise NothingError("the server does not say its time")
    apart = abs((datetime.now(UTC) - parsedate_to_datetime(said)).total_seconds())
    if apart > CLOCKS_APART:
        raise WrongError(f"this clock and the server's are {apart:.0f} s apart; set both by NTP")
    return "as the server's"


def _services(client: "SyncPrefectClient") -> str:
    import httpx

    try:
        services = client._client.get("/admin/settings").json()["server"]["services"]
    except (httpx.HTTPStatusError, KeyError, TypeError):
        # As Prefect Cloud, which runs all of them.
        raise NothingError("the server does not say which it runs") from None
    if off := [name for name in SERVICES if services.get(name, {}).get("enabled") is False]:
        without = "; ".join(f"{name} ({SERVICES[name]})" for name in off)
        variables = " and ".join(f"PREFECT_SERVER_SERVICES_{name.upper()}_ENABLED=true" for name in off)
        raise WrongError(f"the server does not run {without}; set {variables} for the server, and start it again")
    return "the server runs those that the project needs"


def _automation(client: "SyncPrefectClient") -> str:
    known = client.read_automations_by_name(heartbeats.AUTOMATION)
    if not known:
        raise WrongError("none marks runs Crashed whose process is gone; create it: make deploy")
    return _on(known[0])


def _on(automation: "Automation") -> str:
    if not automation.enabled:
        raise WrongError(f"{automation.name!r} is switched off; switch it on in the UI, or: make deploy")
    if getattr(automation.trigger, "match_related", None) != heartbeats.OURS:
        raise WrongError(f"{automation.name!r} is of another version of this project; replace it: make deploy")
    return f"{automation.name!r} is on"


def _alerts(client: "SyncPrefectClient") -> str:
    known = client.read_automations_by_name(alerts.AUTOMATION)
    url = labels.settings.alert_url.get_secret_value()
    if not url:
        if known:
            raise WrongError(f"{PREFIX}ALERT_URL is not set, and alerts are still sent; end that: make deploy")
        raise NothingError(f"{PREFIX}ALERT_URL is not set: nobody is told of runs that fail")
    if not known:
        raise WrongError("nobody is told of runs that fail, for nothing sends alerts; have it sent: make deploy")
    on = _on(known[0])
    if not alerts.go_to(client, known[0], url):
        raise WrongError(f"alerts go to another place than {PREFIX}ALERT_URL says; send them there: make deploy")
    return on


def _workers(client: "SyncPrefectClient") -> str:
    from prefect.exceptions import ObjectNotFound

    try:
        pool = client.read_work_pool(PROJECT)
    except ObjectNotFound:
        raise WrongError(f"there is no work pool {PROJECT}; create it: make deploy") from None
    if pool.is_paused:
        raise WrongError(f"the work pool {PROJECT} is paused: .venv/bin/prefect work-pool resume {PROJECT}")
    if str(pool.status).rpartition(".")[2] != "READY":
        raise WrongError(f"no worker polls the work pool {PROJECT}; start one: make worker")
    return f"a worker polls {PROJECT}"


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project


CHECKS: dict[str, Callable[[], str]] = {
    "Python": _python,
    "packages": _packages,
    "settings": _settings,
    "flows": _flows,
    "prefect.yaml": _deployments,
    "disk": _disk,
    "store": _store,
    "database": _database,
    "jobs": _jobs,
    "runs": _zombies,
    "cluster": _cluster,
}
"""The checks that need no server."""
ASKED: dict[str, Callable[["SyncPrefectClient"], str]] = {
    "versions": _versions,
    "clock": _clock,
    "services": _services,
    "automation": _automation,
    "alerts": _alerts,
    "workers": _workers,
}
"""The checks that ask the server."""
