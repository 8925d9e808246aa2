"""The Prefect server of a command: the configured one, or a temporary one.

Prefect's own temporary server outlives a killed run, and prints the errors of its shutdown. This one ends with its
parent, however the parent ends, and writes to a log. Importing this module does not import Prefect, so you can call
`start_early()` first: the server then starts while your process imports the rest.
"""

import asyncio
import gc
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol, TextIO
from uuid import UUID

from filelock import FileLock

HOST = "127.0.0.1"
"""The host of a temporary server."""
START_TIMEOUT = 180.0
"""Seconds; the first start on a machine creates Prefect's own database."""
CHECK_TIMEOUT = 10.0
"""Seconds to wait for a response of the configured server."""
STOP_TIMEOUT = 15.0
"""Seconds for a temporary server to write what it still holds."""
LEAN = {
    # Prefect registers the type of a block when you save one; all types take seconds, and imports of all collections.
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
    # A temporary server ends before automations matter. Each of their services takes a second to start.
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # A library of Prefect's server: its type checks take long to compile.
    "PY_KEY_VALUE_DISABLE_BEARTYPE": "true",
}
"""Settings of a temporary server, unless the environment sets them."""

_early: subprocess.Popen[str] | None = None
_answered: set[str] = set()
"""URLs of servers that have responded to this process: they are not checked again."""


class ServerError(Exception):
    """No Prefect server can be used. The message names the one that was tried, and what to do."""


class Stoppable(Protocol):
    """The part of `uvicorn.Server` that stops it, without an import of uvicorn."""

    started: bool
    should_exit: bool


def start_early(log: Path | None = None) -> None:
    """Start the temporary server in the background, for `server()` to take over. Call it before you import Prefect.

    It does nothing if `PREFECT_API_URL` is in the environment. If `prefect.toml` or a profile sets the URL, the new
    process finds that out and ends. It ends with this process too, whether `server()` is called or not.

    Args:
        log: the file for the server's own messages; `server.log` in the project's home by default.
    """
    global _early  # noqa: PLW0603
    if _early is None and not os.environ.get("PREFECT_API_URL"):
        _early = _start(log)


@contextmanager
def server(log: Path | None = None) -> Iterator[str]:
    """Yield the URL of the configured Prefect API, or of a temporary server, which stops when the context ends.

    Args:
        log: the file for the temporary server's own messages; `server.log` in the project's home by default.

    Raises:
        ServerError: the configured API does not respond, or the temporary server does not start.
    """
    global _early
    if "prefect" not in sys.modules:
        start_early(log)
    process, _early = _early, None
    try:
        from prefect.settings import (
            PREFECT_API_AUTH_STRING,
            PREFECT_API_URL,
            PREFECT_SERVER_API_AUTH_STRING,
            PREFECT_UI_URL,
            temporary_settings,
        )

        if url := PREFECT_API_URL.value():
            if url not in _answered:
                check(url)
                _answered.add(url)
            yield url
            return
        process = process or _start(log)
        url = _url(process, log)
        _bypass_proxy()
        own = {
            PREFECT_API_URL: url,
            # It requires the same login as the user's own server.
            PREFECT_API_AUTH_STRING: PREFECT_SERVER_API_AUTH_STRING.value(),
            # It serves no web page, so Prefect must not print an address.
            PREFECT_UI_URL: "",
        }
        with temporary_settings(own):
            try:
                yield url
            finally:
                drain()
    finally:
        if process:
            _stop(process)


def check(url: str) -> None:
    """Send a small request to the Prefect API at a URL, with the client and the client settings of Prefect.

    Raises:
        ServerError: the API does not respond, or refuses this client.
    """
    if not url:
        raise ServerError("PREFECT_API_URL is not set")
    from http import HTTPStatus

    import httpx
    from prefect import get_client
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    from . import deployments

    try:
        with (
            temporary_settings({PREFECT_API_URL: url, PREFECT_CLIENT_MAX_RETRIES: 0}),
            get_client(httpx_settings={"timeout": CHECK_TIMEOUT}, sync_client=True) as client,
        ):
            # Unlike `/health`, this needs a valid login, and exists in Prefect Cloud too.
            client.read_work_pools(limit=1)
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise ServerError(
                f"the Prefect server at PREFECT_API_URL={url} refuses this login ({status});"
                " set PREFECT_API_KEY (Prefect Cloud) or PREFECT_API_AUTH_STRING"
            ) from error
        raise ServerError(
            f"no Prefect server answers at PREFECT_API_URL={url}: HTTP status {status} comes back;"
            " correct the URL, which ends in /api unless it is of Prefect Cloud"
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ServerError(
            f"no Prefect server answers at PREFECT_API_URL={url} ({reason});"
            f" start one with: {deployments.START_SERVER}, or correct the variable"
        ) from error


def prepare() -> None:
    """Create or upgrade Prefect's own database, unless an API is configured, to speed up the first run. Idempotent.

    Raises:
        ServerError: the database is from a newer Prefect.
    """
    from prefect.settings import PREFECT_API_URL

    if not PREFECT_API_URL.value():
        with _lock():
            _migrate()


def where(flow_run_id: UUID | None) -> str:
    """Say where to see a flow run: on its page, or with `make ui` if its server was a temporary one."""
    from prefect.utilities.urls import url_for

    page = url_for("flow-run", obj_id=flow_run_id)
    return f"this run: {page}" if page else "`make ui` shows this run"


def drain() -> None:
    """Send the logs and events that Prefect still holds: after the server has stopped, it would retry for a minute."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all(timeout=10)
    EventsWorker.drain_all(timeout=10)


def _log(log: Path | None) -> Path:
    if log:
        return log
    from .settings import settings

    return settings.home / "server.log"


def _start(log: Path | None) -> subprocess.Popen[str]:
    log = _log(log)
    log.parent.mkdir(parents=True, exist_ok=True)
    pipe = subprocess.PIPE
    with log.open("ab") as errors:
        # In its own session, so that Ctrl-C reaches the run only, which still needs the server.
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", __name__],
            stdin=pipe,
            stdout=pipe,
            stderr=errors,
            text=True,
            start_new_session=True,
        )


def _url(process: subprocess.Popen[str], log: Path | None) -> str:
    """Wait for the server's first line: its port, or an error."""
    timeout = threading.Timer(START_TIMEOUT, process.kill)
    timeout.start()
    try:
        line = process.stdout.readline().strip() if process.stdout else ""
    finally:
        timeout.cancel()
    if line.isdecimal():
        from prefect.settings import PREFECT_SERVER_API_BASE_PATH

        return f"http://{HOST}:{line}{PREFECT_SERVER_API_BASE_PATH.value() or '/api'}"
    raise ServerError(line or f"the temporary Prefect server did not start; {_log(log)} says why")


def _bypass_proxy() -> None:
    """Make this process and its children reach the temporary server directly, without the environment's proxy."""
    others = os.environ.get("no_proxy") or os.environ.get("NO_PROXY", "")
    if HOST not in others.split(","):
        os.environ["no_proxy"] = ",".join(filter(None, (others, HOST)))


def _stop(process: subprocess.Popen[str]) -> None:
    if process.stdin:
        process.stdin.close()
    try:
        process.wait(timeout=STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()


def _serve(answer: TextIO) -> None:
    """Serve Prefect's API on a free port until standard input ends.

    Args:
        answer: gets one line: the port once the API responds there, or an error.
    """
    serving: list[Stoppable] = []
    threading.Thread(target=_end_with_parent, args=(serving,), daemon=True).start()
    os.environ |= LEAN | os.environ
    os.environ |= {"PREFECT_UI_ENABLED": "false", "PREFECT__SERVER_EPHEMERAL": "1"}
    if os.environ["PREFECT_API_BLOCKS_REGISTER_ON_START"] == LEAN["PREFECT_API_BLOCKS_REGISTER_ON_START"]:
        # Otherwise Prefect records them as registered, and no later server registers them.
        os.environ["PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION"] = "false"
    try:
        _run(answer, serving)
    except ServerError as error:
        print(error, file=answer, flush=True)
    except Exception as error:
        traceback.print_exc()
        reason = str(error).splitlines() or [type(error).__name__]
        print(f"the temporary Prefect server did not start: {reason[0]}", file=answer, flush=True)


def _run(answer: TextIO, serving: list[Stoppable]) -> None:
    # Imports create many objects and little garbage: without the collector they take an eighth less CPU time.
    gc.disable()
    from prefect.settings import PREFECT_API_DATABASE_MIGRATE_ON_START, PREFECT_API_URL, temporary_settings

    if PREFECT_API_URL.value():
        return
    memory = "memory" in _database_url()
    if not memory and not _is_current():
        gc.enable()
        with _lock():
            _migrate()
        gc.disable()
    import uvicorn
    from prefect.server.api.server import create_app

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                print(listener.getsockname()[1], file=answer, flush=True)

    with temporary_settings({PREFECT_API_DATABASE_MIGRATE_ON_START: memory}):
        app = create_app()
        gc.freeze()
        gc.enable()
        listener = socket.create_server((HOST, 0))
        server = Server(uvicorn.Config(app, log_level="error", lifespan="on"))
        serving.append(server)
        server.run(sockets=[listener])


def _end_with_parent(serving: list[Stoppable]) -> None:
    sys.stdin.read()
    if serving and serving[0].started:
        serving[0].should_exit = True
        time.sleep(STOP_TIMEOUT - 5)
    os._exit(0)


def _lock() -> FileLock:
    """Return the lock for changes of Prefect's database: two simultaneous first starts would damage it."""
    from prefect.settings import PREFECT_HOME

    home = PREFECT_HOME.value()
    home.mkdir(parents=True, exist_ok=True)
    return FileLock(home / "temporary-server.lock", timeout=START_TIMEOUT)


def _database_url() -> str:
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL

    return str(PREFECT_API_DATABASE_CONNECTION_URL.value())


def _revision() -> str:
    """Return the version of Prefect and the revision of its SQLite database; empty if unknown."""
    from prefect import __version__
    from sqlalchemy import make_url

    url = make_url(_database_url())
    if url.get_backend_name() != "sqlite" or not url.database or not Path(url.database).is_file():
        return ""
    try:
        with closing(sqlite3.connect(url.database)) as connection:
            (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except (sqlite3.Error, TypeError):
        return ""
    return f"{__version__} {revision}"


def _head() -> Path:
    """Return the path of the file with the newest revision that this version of Prefect knows."""
    from prefect.settings import PREFECT_HOME

    return Path(PREFECT_HOME.value(), "temporary-server.head")


def _is_current() -> bool:
    """Tell whether the database needs no migration, without loading all of Prefect's migrations."""
    try:
        return _revision() == _head().read_text()
    except OSError:
        return False


def _migrate() -> None:
    """Migrate Prefect's database to the newest revision. Call it under the lock.

    Raises:
        ServerError: the database has a revision of a newer Prefect.
    """
    if _is_current():
        return
    from alembic.util import CommandError
    from prefect import __version__
    from prefect.server.database import provide_database_interface

    try:
        asyncio.run(provide_database_interface().create_db())
    except CommandError as error:
        raise ServerError(
            f"Prefect {__version__} does not know the revision of the database {_database_url()}, as a newer Prefect"
            " leaves it: upgrade Prefect, set PREFECT_HOME to another folder, or delete all its runs with:"
            " prefect server database reset"
        ) from error
    if revision := _revision():
        _head().write_text(revision)


if __name__ == "__main__":
    # Output of libraries goes to the log: the parent reads the answer.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _serve(answer)
    # Threads of libraries would keep the process alive; everything is written.
    os._exit(0)
