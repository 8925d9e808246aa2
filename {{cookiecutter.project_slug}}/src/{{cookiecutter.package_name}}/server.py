"""A Prefect server for the length of one command, for those who run none.

Prefect starts one itself where no API is set, but that one lives on after a killed run and prints the errors of its own
shutdown over the run's output. This one ends with its parent, however the parent ends, and writes to a log.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import httpx
from filelock import FileLock
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, PREFECT_UI_URL, temporary_settings
from prefect.utilities.urls import url_for

from .settings import settings

START_TIMEOUT = 180.0
"""Seconds; the first start on a machine makes Prefect's own database."""


class ServerError(Exception):
    """No Prefect server can be had. The message says which one was tried and what to do."""


@contextmanager
def server(log: Path = settings.home / "server.log") -> Iterator[str]:
    """Yield the URL of the Prefect API that is set, or else of a temporary server, which stops when the context ends.

    Args:
        log: where the temporary server's own messages go.

    Raises:
        ServerError: the API that is set does not answer, or the temporary server does not start.
    """
    if url := PREFECT_API_URL.value():
        if not _answers(url):
            raise ServerError(f"no Prefect server answers at PREFECT_API_URL={url}; start it, or unset the variable")
        yield url
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", __name__]
    pipe = subprocess.PIPE
    with (
        log.open("ab") as errors,
        # A session of its own, so that Ctrl-C reaches the run and not the server that it still talks to.
        subprocess.Popen(  # noqa: S603
            command, stdin=pipe, stdout=pipe, stderr=errors, text=True, start_new_session=True
        ) as process,
    ):
        try:
            # One at a time: a first start makes Prefect's database, and two at once would spoil it.
            home = PREFECT_HOME.value()
            home.mkdir(parents=True, exist_ok=True)
            with FileLock(home / "temporary-server.lock", timeout=START_TIMEOUT):
                print(file=process.stdin, flush=True)
                port = next(iter(process.stdout or ()), "").strip()
                url = f"http://127.0.0.1:{port}/api"
                deadline = time.monotonic() + START_TIMEOUT
                while not (port and _answers(url)):
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise ServerError(f"the temporary Prefect server did not start; {log} says why")
                    time.sleep(0.1)
            # It has no web page, whose address Prefect would give.
            with temporary_settings({PREFECT_API_URL: url, PREFECT_UI_URL: ""}):
                try:
                    yield url
                finally:
                    drain()
        finally:
            if process.stdin:
                process.stdin.close()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()


def where(flow_run_id: UUID | None) -> str:
    """Say where a flow run is seen: on its page, or on that of `make ui` where its server was a temporary one."""
    page = url_for("flow-run", obj_id=flow_run_id)
    return f"this run: {page}" if page else "`make ui` shows this run"


def drain() -> None:
    """Send what Prefect still has to tell the server; it would try for a minute to do so when the server is gone."""
    APILogWorker.drain_all(timeout=10)
    EventsWorker.drain_all(timeout=10)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5).is_success
    except httpx.HTTPError:
        return False


def _serve() -> None:
    """Serve Prefect's API on a free port, named on standard output, until standard input ends."""
    import uvicorn

    sys.stdin.readline()  # the parent's word that it is this server's turn
    os.environ |= {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1"}
    from prefect.server.api.server import create_app

    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    server = uvicorn.Server(uvicorn.Config(create_app(), log_level="error", lifespan="on"))

    def stop_with_parent() -> None:
        sys.stdin.read()
        server.should_exit = True
        time.sleep(10)
        os._exit(0)

    threading.Thread(target=stop_with_parent, daemon=True).start()
    server.run(sockets=[listener])


if __name__ == "__main__":
    _serve()
