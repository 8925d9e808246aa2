"""The server of a command: a temporary one ends with its parent, and one that is set is asked as Prefect asks it."""

import base64
import json
import os
import re
import shutil
import signal
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from {{ cookiecutter.package_name }}.durable import server

from tests.support.prefect_home import prepared, variables

PARENT = """
import sys
from pathlib import Path
from {{ cookiecutter.package_name }}.durable.server import ServerError, server, start_early

assert "prefect" not in sys.modules, "it is imported before the server starts"
log = Path(sys.argv[1])
start_early(log)
if sys.argv[2:] == ["unused"]:
    print(flush=True)
    sys.stdin.read()
    sys.exit()
try:
    with server(log) as url:
        print(url, flush=True)
        sys.stdin.read()
except ServerError as error:
    sys.exit(str(error))
"""
TIMEOUT = 120.0
"""Seconds."""


class Parent:
    """A process with a temporary server, in a Prefect home of its own or of another one."""

    def __init__(self, home: Path, log: Path, *arguments: str) -> None:
        self.log = log
        environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
        environment |= variables(home)
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, "-c", PARENT, str(log), *arguments],
            env=environment,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
        )

    @property
    def url(self) -> str:
        """The server's, once it is ready."""
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def end(self) -> tuple[int, str]:
        """End it by itself; return its exit code and what it has written to standard error."""
        _, err = self.process.communicate(timeout=TIMEOUT)
        return self.process.returncode, err


def listens(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5).is_success
    except httpx.TransportError:
        return False


def wait(happens: Callable[[], object], timeout: float = TIMEOUT) -> None:
    deadline = time.monotonic() + timeout
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def processes(log: Path) -> list[str]:
    """Servers that write to a log, by their ids."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
            if f"{server.__name__}".encode() in command and (folder / "fd" / "2").readlink() == log:
                found.append(folder.name)
        except OSError:
            continue
    return found


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Parent, Parent]]:
    """A fresh Prefect home, and two processes that start their servers on it at once."""
    home = tmp_path_factory.mktemp("prefect")
    one, other = (Parent(home, home / f"{number}.log") for number in range(2))
    yield home, one, other
    for parent in (one, other):
        parent.process.kill()
        parent.process.communicate()


DIRECTLY = """
from {{ cookiecutter.package_name }}.durable.server import server

with server() as url:
    from prefect import get_client

    with get_client(sync_client=True) as client:
        client.read_work_pools()
    print(url)
"""


@pytest.mark.slow
def test_settings_for_other_servers_do_not_keep_a_run_from_its_own(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    environment |= {
        **prepared(tmp_path),
        "PREFECT_SERVER_API_AUTH_STRING": "user:word",
        "PREFECT_SERVER_API_BASE_PATH": "/prefect",
        "NO_PROXY": "elsewhere.example",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }
    done = subprocess.run(
        [sys.executable, "-c", DIRECTLY], env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT
    )
    assert done.stdout.strip().endswith("/prefect"), done.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_start_at_once_on_a_fresh_home_and_end_with_their_parents(started: tuple[Path, Parent, Parent]) -> None:
    home, one, other = started
    urls = [one.url, other.url]
    assert len(set(urls)) == 2
    for url in urls:
        flow = httpx.post(f"{url}/flows/", json={"name": "shared"}, timeout=60).raise_for_status().json()
        assert httpx.get(f"{url}/flows/{flow['id']}", timeout=60).json()["name"] == "shared"
    one.process.send_signal(signal.SIGKILL)
    assert other.end() == (0, "")
    wait(lambda: not any(map(listens, urls)), 30)
    for log in (one.log, other.log):
        assert "Traceback" not in log.read_text()
    wait(lambda: not (processes(one.log) or processes(other.log)), 30)
    with closing(sqlite3.connect(home / "prefect.db")) as connection:
        assert connection.execute("SELECT count(*) FROM flow").fetchone() == (1,)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_database_of_a_newer_prefect_is_one_line(started: tuple[Path, Parent, Parent], tmp_path: Path) -> None:
    home = tmp_path / "prefect"
    shutil.copytree(started[0], home)
    with closing(sqlite3.connect(home / "prefect.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'f00000000000'")
    code, err = Parent(home, tmp_path / "log").end()
    assert code == 1
    assert err.count("\n") == 1
    for part in ("does not know the revision", str(home), "upgrade Prefect", "PREFECT_HOME", "prefect server database"):
        assert part in err


@pytest.mark.slow
def test_database_that_is_up_to_date_is_not_migrated(
    started: tuple[Path, Parent, Parent], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from prefect.server import database
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, PREFECT_HOME, temporary_settings

    def migrate() -> None:
        raise AssertionError("Prefect's migrations are loaded")

    home = tmp_path / "prefect"
    shutil.copytree(started[0], home)
    monkeypatch.setattr(database, "provide_database_interface", migrate)
    url = f"sqlite+aiosqlite:///{home / 'prefect.db'}"
    with temporary_settings({PREFECT_HOME: home, PREFECT_API_DATABASE_CONNECTION_URL: url}):
        server._migrate()
        with closing(sqlite3.connect(home / "prefect.db")) as connection, connection:
            connection.execute("DELETE FROM alembic_version")
        with pytest.raises(AssertionError, match="are loaded"):
            server._migrate()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_unusable_home_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, err = Parent(tmp_path / "file" / "prefect", tmp_path / "log").end()
    assert code == 1
    assert err.splitlines()[-1].startswith("the temporary Prefect server did not start: ")
    assert "Traceback" not in err


@pytest.mark.slow
def test_server_that_was_started_early_ends_unused(tmp_path: Path) -> None:
    log = tmp_path / "log"
    parent = Parent(tmp_path, log, "unused")
    assert parent.url == ""
    wait(lambda: processes(log))
    parent.process.kill()
    parent.process.communicate()
    wait(lambda: not processes(log), 30)


def test_no_server_starts_early_where_one_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    server.start_early(tmp_path / "log")
    assert not list(tmp_path.iterdir())


class Stub(ThreadingHTTPServer):
    """A Prefect API that has nothing, for those who send certain headers."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        """What each request must have."""
        self.status = 200
        """Of its answers to those that have it."""
        self.asked = 0
        super().__init__(("127.0.0.1", 0), _Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/api"


class _Answer(BaseHTTPRequestHandler):
    server: Stub

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked += 1
        status, body = self.server.status, b"[]"
        if any(self.headers.get(name) != value for name, value in self.server.headers.items()):
            status = 401
        elif not re.match("/api/[a-z]", self.path):
            status = 404
        elif "csrf-token" in self.path and status == 200:
            status, body = 422, json.dumps({"detail": "CSRF protection is disabled."}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer  # noqa: N815

    def log_message(self, *_: object) -> None: ...


@contextmanager
def serving(stub: Stub) -> Iterator[Stub]:
    with stub:
        threading.Thread(target=stub.serve_forever, args=(0.05,), daemon=True).start()
        yield stub
        stub.shutdown()


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving(Stub()) as stub:
        yield stub


@contextmanager
def settings(**values: object) -> Iterator[None]:
    """Prefect's settings, by their names without `PREFECT_`."""
    from prefect import settings
    from prefect.settings import temporary_settings

    with temporary_settings({getattr(settings, f"PREFECT_{name}"): value for name, value in values.items()}):
        yield


def test_server_that_is_set_is_asked_with_custom_headers(stub: Stub) -> None:
    stub.headers = {"X-Proxy-Token": "pass"}
    with pytest.raises(server.ServerError, match=r"refuses this login \(401\).*PREFECT_API_AUTH_STRING"):
        server.check(stub.url)
    with settings(CLIENT_CUSTOM_HEADERS={"X-Proxy-Token": "pass"}):
        server.check(stub.url)


def test_server_that_is_set_is_asked_with_its_login(stub: Stub) -> None:
    stub.headers = {"Authorization": f"Basic {base64.b64encode(b'admin:secret').decode()}"}
    with settings(API_AUTH_STRING="admin:wrong"), pytest.raises(server.ServerError, match="refuses this login"):
        server.check(stub.url)
    with settings(API_AUTH_STRING="admin:secret"):
        server.check(stub.url)


def test_url_may_end_in_a_slash(stub: Stub) -> None:
    with settings(API_URL=f"{stub.url}/"), server.server() as url:
        assert url == f"{stub.url}/"
    assert stub.asked


@pytest.mark.parametrize("status", [404, 500, 503])
def test_other_answers_are_one_line_at_once(stub: Stub, status: int) -> None:
    stub.status = status
    begin = time.monotonic()
    with pytest.raises(server.ServerError, match=f"no Prefect server answers at .*HTTP status {status}") as failed:
        server.check(stub.url)
    assert "\n" not in str(failed.value)
    assert time.monotonic() - begin < 30, "it is not asked again for minutes"


@pytest.mark.parametrize("url", ["", "nonsense", "http://", "http://127.0.0.1:9/api", "http://[::1/api"])
def test_no_server_is_one_line(url: str) -> None:
    with pytest.raises(server.ServerError) as failed:
        server.check(url)
    assert "\n" not in str(failed.value)
    assert "PREFECT_API_URL" in str(failed.value)


def test_certificate_is_checked_as_prefect_is_told(stub: Stub, tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    stub.socket = context.wrap_socket(stub.socket, server_side=True)
    url = stub.url.replace("http:", "https:")
    with pytest.raises(server.ServerError, match=r"(?i)certificate"):
        server.check(url)
    with settings(API_SSL_CERT_FILE=str(certificate)):
        server.check(url)
    with settings(API_TLS_INSECURE_SKIP_VERIFY=True):
        server.check(url)


def self_signed(folder: Path) -> Path:
    """A key and its certificate for 127.0.0.1."""
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    today = datetime.now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=2))
        .not_valid_after(today + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    path = folder / "certificate.pem"
    path.write_bytes(
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(encoding)
    )
    return path
