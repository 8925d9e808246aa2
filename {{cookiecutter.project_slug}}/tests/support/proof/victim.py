"""A process of the proof: one command of the project, which may die at a point of its steps.

It is forked from a process that has imported Prefect and nothing of the project, so that each one reads its settings
from an environment of its own. This module imports neither: Prefect reads the environment and the folder in which it is
imported, and whoever starts the proof has others.
"""

import http.client
import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Engine, event

PREFIX = "{{ cookiecutter.package_name | upper }}_"
POINTS = (
    "claimed",
    "half of the effect",
    "effect before checkpoint",
    "checkpoint before commit",
    "committed",
    "commit of your own",
    "result stored",
    "before a request",
    "request answered",
)
"""Where a process can be killed: in a step, in a transaction of the flow's own, after a task, and around a request."""
OURS = {
    *("checkpoints", "counts", "high-water", "locks", "outbox", "rejects", "results", "runs", "transfer"),
    *("resume.lock", "server.log", "temporary-server.lock"),
}
"""What `durable` itself keeps in the home, beside the database."""
READS = {"GET", "HEAD", "OPTIONS"}
BETWEEN = {"sqlalchemy", "contextlib"}
"""The libraries between whoever asks for a commit and the commit."""
HERE = {"127.0.0.1", "localhost", "::1"}


def work(arguments: list[str], environment: Mapping[str, str], output: Path, packages: tuple[str, ...]) -> None:
    """Call the command line with arguments, in a fork; die where `PROOF_AT` says, as `committed:3`.

    Args:
        arguments: of the command line; `observe` has what is there written to `state.json` beside the output.
        environment: what is added to this process's.
        output: gets what is printed; a file beside it, how often each point was passed.
        packages: where flows are, beside the project's own.
    """
    os.environ |= environment
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.setpgid(0, 0)
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    from {{ cookiecutter.package_name }}.durable import cli, discovery

    discovery.PACKAGES += packages
    if arguments == ["observe"]:
        output.with_name("state.json").write_text(json.dumps(observe()), encoding="utf-8")
        return
    passed = watch(os.environ.get("PROOF_AT", ""))
    sys.argv = ["{{ cookiecutter.package_name }}", *arguments]
    try:
        # A heartbeat's thread costs each flow run a second at its end.
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            cli.main()
    finally:
        output.with_suffix(".points").write_text(json.dumps(passed), encoding="utf-8")


def observe() -> dict[str, Any]:
    """Return the rows of all tables, the rejected records, and the files that flows have written into the home."""
    from {{ cookiecutter.package_name }}.durable import discovery
    from {{ cookiecutter.package_name }}.durable.settings import settings

    from tests.support import loaded

    discovery.flows()
    home = settings.home
    files = {
        str(path.relative_to(home)): sorted(path.read_text(encoding="utf-8", errors="replace").splitlines())
        for path in home.rglob("*")
        if path.is_file() and _is_an_outcome(path.relative_to(home))
    }
    return {"tables": loaded.rows(), "files": files}


def _is_an_outcome(file: Path) -> bool:
    """Whether a flow has written a file of the home, or `durable` the rejected records of one."""
    if file.parts[0] == "rejects":
        return file.parts[1] != "parts"
    return file.parts[0] not in OURS and not file.name.startswith("database.")


def watch(at: str) -> Counter[str]:
    """Count how often this process passes each point, and have it die at one of them: `committed:3`."""
    point, _, hit = at.partition(":")
    passed: Counter[str] = Counter()
    lock = threading.Lock()

    def here(name: str) -> None:
        with lock:
            passed[name] += 1
            if name == point and passed[name] == int(hit):
                os.kill(os.getpid(), signal.SIGKILL)

    watch_steps(here)
    watch_results(here)
    watch_requests(here)
    return passed


def watch_steps(here: Callable[[str], None]) -> None:
    """Pass the points of a step."""
    from {{ cookiecutter.package_name }}.durable.steps import Step

    inside = threading.local()
    enter, leave = Step.__enter__, Step.__exit__

    def entered(self: Step) -> Any:
        connection = enter(self)
        if connection is not None:
            inside.step = "effect"
            here("claimed")
        return connection

    def left(self: Step, kind: Any, error: Any, traceback: Any) -> None:
        was, inside.step = getattr(inside, "step", ""), "checkpoint"
        if was and kind is None:
            here("effect before checkpoint")
        try:
            leave(self, kind, error, traceback)
        finally:
            inside.step = ""
        if was and kind is None:
            here("committed")

    def executed(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if getattr(inside, "step", "") == "effect" and not statement.lstrip().upper().startswith("SELECT"):
            here("half of the effect")

    def commits(_connection: Any) -> None:
        if getattr(inside, "step", "") == "checkpoint":
            here("checkpoint before commit")
        elif _asked_by_the_flow():
            here("commit of your own")

    Step.__enter__, Step.__exit__ = entered, left  # type: ignore[method-assign]
    event.listen(Engine, "after_cursor_execute", executed)
    event.listen(Engine, "commit", commits)


def _asked_by_the_flow() -> bool:
    """Whether code that is neither SQLAlchemy's nor `durable`'s has asked for what SQLAlchemy does."""
    frame = sys._getframe(2)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in BETWEEN:
        frame = frame.f_back
    return not frame.f_globals.get("__name__", "").startswith(f"{PREFIX[:-1].lower()}.durable.")


def watch_results(here: Callable[[str], None]) -> None:
    """Pass a point where Prefect has stored a result."""
    from prefect.results import ResultStore

    plain, plain_async = ResultStore.persist_result_record, ResultStore.apersist_result_record

    def persist(self: Any, *arguments: Any, **options: Any) -> None:
        plain(self, *arguments, **options)
        here("result stored")

    async def apersist(self: Any, *arguments: Any, **options: Any) -> None:
        await plain_async(self, *arguments, **options)
        here("result stored")

    ResultStore.persist_result_record = persist  # type: ignore[method-assign]
    ResultStore.apersist_result_record = apersist  # type: ignore[method-assign]


def watch_requests(here: Callable[[str], None]) -> None:
    """Lead requests of httpx that change something to the receiver of the proof, and refuse those of other clients."""
    receiver, server = os.environ["PROOF_RECEIVER"], httpx.URL(os.environ["PREFECT_API_URL"])

    def led(request: httpx.Request, content: bytes) -> httpx.Request:
        # Without the query, which may hold a secret: the report names the URL.
        headers = {"X-To": str(request.url.copy_with(query=None))}
        kept = {name: request.headers[name] for name in ("Idempotency-Key", "Content-Type") if name in request.headers}
        return httpx.Request(request.method, receiver, headers=headers | kept, content=content)

    def passes(request: httpx.Request) -> bool:
        to_prefect = (request.url.host, request.url.port) == (server.host, server.port)
        return request.method in READS or to_prefect

    plain, plain_async = httpx.HTTPTransport.handle_request, httpx.AsyncHTTPTransport.handle_async_request

    def handle(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        if passes(request):
            return plain(self, request)
        here("before a request")
        answer = plain(httpx.HTTPTransport(), led(request, request.read()))
        here("request answered")
        return answer

    async def handle_async(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        if passes(request):
            return await plain_async(self, request)
        here("before a request")
        answer = await plain_async(httpx.AsyncHTTPTransport(), led(request, await request.aread()))
        here("request answered")
        return answer

    put = http.client.HTTPConnection.putrequest

    def checked(self: http.client.HTTPConnection, method: str, *arguments: Any, **options: Any) -> None:
        if method.upper() not in READS and self.host not in HERE:
            raise RuntimeError(
                f"the proof does not let {method} {self.host} through: it leads requests of httpx alone to its receiver"
            )
        put(self, method, *arguments, **options)

    httpx.HTTPTransport.handle_request = handle  # type: ignore[method-assign]
    httpx.AsyncHTTPTransport.handle_async_request = handle_async  # type: ignore[method-assign]
    http.client.HTTPConnection.putrequest = checked  # type: ignore[method-assign]
