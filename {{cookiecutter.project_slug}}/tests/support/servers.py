"""Servers of the tests' own: on free ports of this machine, and gone with the process that started them."""

import http.client
import os
import select
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support import UnavailableError

START_TIMEOUT = 60.0
"""Seconds."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def serve(command: Sequence[object], port: int, log: Path) -> None:
    """Start a server, which ends when this process does, and wait until it accepts connections.

    Args:
        command: the program and its arguments.
        port: the one it is told to listen on.
        log: where it writes to.

    Raises:
        UnavailableError: it does not start.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    # The shell between them sees the end of its input however this process ends, by SIGKILL too.
    watched = ["sh", "-c", '"$@" & read -r _; kill $!', "sh", *map(str, command)]
    with log.open("ab") as output:
        pipe = subprocess.PIPE
        _running.append(subprocess.Popen(watched, stdin=pipe, stdout=output, stderr=output, start_new_session=True))
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
    raise UnavailableError(f"{command[0]} does not start: {log.read_text()[-2000:]}")


# Kept from the garbage collector, which would close their input.
_running: list[subprocess.Popen[bytes]] = []


def run_beside(start: Callable[[Path], dict[str, str]], given: object, setting: str, name: str, what: str) -> None:
    """Run the command of the arguments, beside a server of its own unless a setting names another, and exit as it does.

    Args:
        start: starts the server for a folder and returns the environment that leads to it.
        given: the value of the setting that names another server; empty if it does not.
        setting: its name.
        name: of the folder, in the home.
        what: is kept there.
    """
    from {{ cookiecutter.package_name }}.durable.settings import PREFIX, settings

    environment = dict(os.environ)
    if not given:
        folder = settings.home / name
        try:
            environment |= start(folder)
        except UnavailableError as error:
            sys.exit(f"{PREFIX}{setting.upper()} is not set, and without it: {error}")
        print(f"{PREFIX}{setting.upper()} is not set: a server here keeps the {what}, in {folder}", flush=True)
    # Ctrl-C is the command's; this process waits for it to end.
    signal.signal(signal.SIGINT, lambda *_: None)
    sys.exit(subprocess.run(sys.argv[1:], env=environment, check=False).returncode)


class Faults(ThreadingHTTPServer):
    """What stands between a client and a server and can fail: an HTTP proxy of one host."""

    def __init__(self, target: str) -> None:
        self.target = target.removeprefix("http://")
        self.away = False
        """Whether each connection is closed without an answer."""
        self.failures = 0
        """How many of the next requests are answered with 503 instead of being passed on."""
        self.methods = {"GET", "HEAD", "PUT", "POST", "DELETE"}
        """Of which requests."""
        super().__init__(("127.0.0.1", 0), _Forward)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Forward(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Faults

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.away:
            self.close_connection = True
            return
        if self.server.failures and self.command in self.server.methods:
            self.server.failures -= 1
            self._answer(503, [], b"")
            return
        connection = http.client.HTTPConnection(self.server.target, timeout=30)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            self._answer(response.status, response.getheaders(), response.read())
        finally:
            connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in {"transfer-encoding", "content-length", "connection"}:
                self.send_header(name, value)
        # The answer to a HEAD request has the length of what a GET would bring.
        length = {name.lower(): value for name, value in headers}.get("content-length")
        self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _forward  # noqa: N815

    def log_message(self, *_: object) -> None: ...


@contextmanager
def faults(target: str) -> Iterator[Faults]:
    """Yield a proxy of a server that can be told to fail."""
    with Faults(target) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
        yield proxy
        proxy.shutdown()


class Cuts(socketserver.ThreadingTCPServer):
    """What stands between a client and PostgreSQL and can be cut: a proxy of its connections.

    Each cut is made once, and closes the connection to both sides.
    """

    daemon_threads = True

    def __init__(self, target: Callable[[], socket.socket]) -> None:
        self.target = target
        """Connects to the server."""
        self.before: bytes | None = None
        """Cut when the client says this, and keep it from the server."""
        self.after: bytes | None = None
        """Cut when the server has answered this, and keep the answer from the client."""
        self.bytes_left: int | None = None
        """Cut after so many bytes, of both directions."""
        self.cuts = 0
        super().__init__(("127.0.0.1", 0), _Pass)


class _Pass(socketserver.BaseRequestHandler):
    server: Cuts

    def handle(self) -> None:
        cuts, client, hide = self.server, self.request, False
        # A client may be gone, or the server.
        with suppress(OSError), cuts.target() as server:
            while ready := select.select([client, server], [], [])[0]:
                source = ready[0]
                data = source.recv(65536)
                if source is client and cuts.before is not None and cuts.before in data:
                    cuts.before, data = None, b""
                    cuts.cuts += 1
                elif source is client and cuts.after is not None and cuts.after in data:
                    cuts.after, hide = None, True
                elif source is server and hide:
                    cuts.cuts += 1
                    data = b""
                (server if source is client else client).sendall(data[: cuts.bytes_left])
                if cuts.bytes_left is not None:
                    cuts.bytes_left -= len(data)
                    if cuts.bytes_left <= 0:
                        cuts.bytes_left, data = None, b""
                        cuts.cuts += 1
                if not data:
                    return


@contextmanager
def cuts(target: Callable[[], socket.socket]) -> Iterator[Cuts]:
    """Yield a proxy whose connections can be cut."""
    with Cuts(target) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
        yield proxy
        proxy.shutdown()
