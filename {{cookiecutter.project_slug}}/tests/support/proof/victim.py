"""A process of the proof: one command of the project, which may die at a point of its steps.

It is forked from a process that has imported Prefect and nothing of the project, so that each one reads its settings
from an environment of its own. This module imports neither: Prefect reads the environment and the folder in which it is
imported, and whoever starts the proof has others. On Dask and Ray it is also loaded in each process of the cluster.
"""

import fcntl
import http.client
import importlib.util
import json
import os
import signal
import smtplib
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Engine, Insert, Table, event

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
WRITTEN, NUMBERED = "written", "numbered"
"""Files with what a process notes: the files that it has opened for writing, tables whose keys the database numbers."""
NO_OUTCOME = ("/proc/", "/sys/", "/tmp/ray/")
"""Folders that hold nothing of a flow's."""
READS = {"GET", "HEAD", "OPTIONS"}
BETWEEN = {"sqlalchemy", "contextlib"}
"""The libraries between whoever asks for a commit and the commit."""
HERE = {"127.0.0.1", "localhost", "::1"}


def work(arguments: list[str], environment: Mapping[str, str], output: Path, packages: tuple[str, ...]) -> None:
    """Call the command line with arguments, in a fork; die where `PROOF_AT` says, as `committed:3`.

    Args:
        arguments: of the command line; `observe` has what is there written to `state.json` beside the output.
        environment: what is added to this process's.
        output: gets what is printed; a folder beside it, what the process passes and writes.
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
    watch()
    sys.argv = ["{{ cookiecutter.package_name }}", *arguments]
    # A heartbeat's thread costs each flow run a second at its end.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        cli.main()


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


def watch() -> None:
    """Note what this process does in `PROOF_NOTES`, and have it die where `PROOF_AT` says, as `committed:3`."""
    notes = Path(os.environ["PROOF_NOTES"])
    point, _, hit = os.environ.get("PROOF_AT", "").partition(":")

    def here(name: str) -> None:
        if _append(notes / name, b".") == int(hit or 0) and name == point:
            os.kill(os.getpid(), signal.SIGKILL)

    watch_files(notes / WRITTEN)
    watch_steps(here, notes / NUMBERED)
    watch_results(here)
    watch_requests(here)


def dask_setup(_worker: object = None) -> None:
    """Watch a process of a cluster: Dask calls this by its name, Ray by a variable."""
    watch()


def _append(file: Path, text: bytes) -> int:
    """Append to a file of several processes; return its new length in bytes."""
    with file.open("ab") as notes:
        fcntl.flock(notes, fcntl.LOCK_EX)
        notes.write(text)
        notes.flush()
        return notes.tell()


def watch_files(written: Path) -> None:
    """Note the files that Python opens for writing, and databases of SQLite."""
    noted: set[str] = set()
    ours = (os.path.join(os.path.realpath(os.environ["TESTS_FOLDER"]), ""), *NO_OUTCOME)

    def opened(name: str, arguments: tuple[Any, ...]) -> None:
        if name not in ("open", "sqlite3.connect") or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        if name == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
        path = os.path.realpath(os.fsdecode(arguments[0]).removeprefix("file:").partition("?")[0])
        if path in noted or path.startswith(ours) or "/." in path or "/__pycache__/" in path:
            return
        noted.add(path)
        _append(written, f"{path}\n".encode())

    sys.addaudithook(opened)


def watch_steps(here: Callable[[str], None], numbered: Path) -> None:
    """Pass the points of a step, and note the tables whose keys are left to the database."""
    from {{ cookiecutter.package_name }}.durable.steps import Step

    inside = threading.local()
    noted: set[str] = set()
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

    def executed(_connection: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool) -> None:
        if (table := _table_with_numbered_keys(statement, context)) and table not in noted:
            noted.add(table)
            _append(numbered, f"{table}\n".encode())
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


def _table_with_numbered_keys(statement: str, context: Any) -> str:
    """Return the table into which a statement inserts rows without their key, or nothing."""
    inserted = getattr(context.compiled, "statement", None)
    if not isinstance(inserted, Insert) or not isinstance(inserted.table, Table):
        return ""
    key = inserted.table.autoincrement_column
    if key is None:
        return ""
    columns = statement.partition("(")[2].partition(")")[0].split(", ")
    is_given = context.compiled.preparer.format_column(key) in columns and "nextval(" not in statement
    return "" if is_given else str(inserted.table.fullname)


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
    real = tuple(os.environ.get("PROOF_REAL", "").split())

    def led(request: httpx.Request, content: bytes) -> httpx.Request:
        # Without the query, which may hold a secret: the report names the URL.
        headers = {"X-To": str(request.url.copy_with(query=None))}
        kept = {name: request.headers[name] for name in ("Idempotency-Key", "Content-Type") if name in request.headers}
        return httpx.Request(request.method, receiver, headers=headers | kept, content=content)

    def passes(request: httpx.Request) -> bool:
        to_prefect = (request.url.host, request.url.port) == (server.host, server.port)
        return request.method in READS or to_prefect or str(request.url).startswith(real)

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
        refuse(method, self.host)
        put(self, method, *arguments, **options)

    def refuse(method: str, host: str) -> None:
        if method.upper() not in READS and host not in HERE:
            raise RuntimeError(
                f"the proof does not let {method} {host} through: it leads requests of httpx alone to its receiver"
            )

    def sends(self: Any, sender: str, receivers: Any, *_arguments: Any, **_options: Any) -> None:
        raise RuntimeError(f"the proof does not let a mail to {receivers} through; send it after the flow, or by httpx")

    smtplib.SMTP.sendmail = sends  # type: ignore[method-assign,assignment]
    if importlib.util.find_spec("aiohttp"):
        session: Any = importlib.import_module("aiohttp").ClientSession
        asked = session._request

        async def checked_async(self: Any, method: str, url: Any, **options: Any) -> Any:
            refuse(method, httpx.URL(str(self._build_url(url))).host)
            return await asked(self, method, url, **options)

        session._request = checked_async

    httpx.HTTPTransport.handle_request = handle  # type: ignore[method-assign]
    httpx.AsyncHTTPTransport.handle_async_request = handle_async  # type: ignore[method-assign]
    http.client.HTTPConnection.putrequest = checked  # type: ignore[method-assign]
