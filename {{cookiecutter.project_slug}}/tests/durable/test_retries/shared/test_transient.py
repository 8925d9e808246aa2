"""Which errors are tried again, and how long servers are left alone: on real sockets, servers and databases."""

import asyncio
import errno
import http.client
import http.server
import inspect
import socket
import sqlite3
import struct
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import format_datetime
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prefect import flow
from prefect.states import Failed
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from {{ cookiecutter.package_name }}.durable.retries import RETRIES
from {{ cookiecutter.package_name }}.durable.tasks import durable_task
from {{ cookiecutter.package_name }}.durable.transient import patience, settings, should_retry

PAST = "Fri, 02 Jan 2026 00:00:00 GMT"


def http_error(status: int, headers: dict[str, str] | None = None) -> httpx.HTTPStatusError:
    request = httpx.Request("GET", "http://127.0.0.1")
    return httpx.HTTPStatusError("", request=request, response=httpx.Response(status, headers=headers, request=request))


def like(path: str, message: str = "", base: type[Exception] = Exception, **attributes: Any) -> Exception:
    """An error like that of a library which may be absent here: of a class of that module and name."""
    module, _, name = path.rpartition(".")
    error: Exception = type(name, (base,), {"__module__": module})(message)
    vars(error).update(attributes)
    return error


def answer(status: int, headers: dict[str, str] | None = None) -> SimpleNamespace:
    return SimpleNamespace(status_code=status, headers=headers or {})


def aws(status: int, code: str, headers: dict[str, str] | None = None) -> Exception:
    metadata = {"HTTPStatusCode": status, "HTTPHeaders": headers or {}}
    return like("botocore.exceptions.ClientError", response={"Error": {"Code": code}, "ResponseMetadata": metadata})


def url_error(status: int, headers: dict[str, str] | None = None) -> urllib.error.HTTPError:
    message = Message()
    for name, value in (headers or {}).items():
        message[name] = value
    return urllib.error.HTTPError("http://127.0.0.1", status, "", message, None)


def sqlite(message: str, code: int | None = None) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(message)
    if code is not None:
        error.sqlite_errorcode = code
    return error


def psycopg(sqlstate: str | None, message: str = "") -> Exception:
    return like("psycopg.OperationalError", message, sqlstate=sqlstate)


def connecting(message: str) -> Exception:
    return psycopg(None, f'connection failed: connection to server at "127.0.0.1", port 5432 failed: {message}')


def wrapped(cause: Exception) -> Exception:
    try:
        raise RuntimeError("could not load") from cause
    except RuntimeError as error:
        return error


def handled(context: Exception) -> Exception:
    try:
        try:
            raise context
        except Exception:
            raise KeyError("a mistake in the handler")  # noqa: B904 - the case that is tested
    except KeyError as error:
        return error


REDIS = like("redis.exceptions.ConnectionError")
TRANSIENT = {
    "time-out": TimeoutError(),
    "reset": ConnectionResetError(),
    "refused": ConnectionRefusedError(),
    "broken pipe": BrokenPipeError(),
    "cut short": http.client.IncompleteRead(b""),
    "DNS busy": socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    "no route": OSError(errno.EHOSTUNREACH, ""),
    "no network": OSError(errno.ENETUNREACH, ""),
    "network down": OSError(errno.ENETDOWN, ""),
    "time-out of the system": OSError(errno.ETIMEDOUT, ""),
    "httpx connect": httpx.ConnectError(""),
    "httpx read": httpx.ReadTimeout(""),
    "httpx protocol": httpx.RemoteProtocolError(""),
    **{f"HTTP {status}": http_error(status) for status in (408, 425, 429, 500, 502, 503, 504)},
    "requests 503": like("requests.exceptions.HTTPError", base=OSError, response=answer(503)),
    "requests connection": like("requests.exceptions.ConnectionError", base=OSError),
    "requests time-out": like("requests.exceptions.Timeout", base=OSError),
    "urllib 429": url_error(429),
    "urllib refused": urllib.error.URLError(ConnectionRefusedError()),
    "urllib3": like("urllib3.exceptions.MaxRetryError", reason=like("urllib3.exceptions.ProtocolError")),
    "aiohttp 502": like("aiohttp.client_exceptions.ClientResponseError", status=502),
    "aiohttp connection": like("aiohttp.client_exceptions.ClientConnectionError"),
    "google 429": like("google.api_core.exceptions.TooManyRequests", code=HTTPStatus(429), response=None),
    "google quota": like("google.api_core.exceptions.Forbidden", code=403, errors=[{"reason": "rateLimitExceeded"}]),
    "google login server": like("google.auth.exceptions.TransportError"),
    "azure 503": like("azure.core.exceptions.HttpResponseError", status_code=503, response=answer(503)),
    "azure connection": like("azure.core.exceptions.ServiceRequestError"),
    "aws 503": aws(503, "ServiceUnavailable"),
    "aws throttling": aws(400, "ThrottlingException"),
    "aws capacity": aws(400, "ProvisionedThroughputExceededException"),
    "aws limit": aws(400, "RequestLimitExceeded"),
    "aws slow down": aws(400, "SlowDown"),
    "aws connection": like("botocore.exceptions.ConnectionError"),
    "redis connection": REDIS,
    "pool": PoolTimeout(),
    "connection lost": DBAPIError("SELECT 1", {}, Exception(), connection_invalidated=True),
    "sqlite locked": sqlite("database is locked"),
    "sqlite table locked": sqlite("database table is locked: toys"),
    "sqlite busy snapshot": sqlite("", sqlite3.SQLITE_BUSY_SNAPSHOT),
    "sqlite protocol": sqlite("locking protocol", sqlite3.SQLITE_PROTOCOL),
    "sqlite wrapped": OperationalError("SELECT 1", {}, sqlite("database is locked")),
    **{state: psycopg(state) for state in ("08006", "40001", "40P01", "53300", "55P03", "57P01", "57P02", "57P03")},
    "SQLSTATE wrapped": OperationalError("SELECT 1", {}, psycopg("40001")),
    "PostgreSQL refused": connecting("Connection refused"),
    "PostgreSQL starting": connecting("FATAL:  the database system is starting up"),
    "PostgreSQL full": connecting("FATAL:  sorry, too many clients already"),
    "PostgreSQL closed": psycopg(None, "the connection is closed"),
    "cause": wrapped(TimeoutError()),
    "cause of a cause": wrapped(wrapped(http_error(503))),
    "group": ExceptionGroup("", [TimeoutError(), ExceptionGroup("", [http_error(503)])]),
}
PERMANENT = {
    "bad data": ValueError("bad data"),
    "missing key": KeyError("column"),
    "missing file": FileNotFoundError(),
    "forbidden file": PermissionError(errno.EACCES, "Permission denied"),
    "full disk": OSError(errno.ENOSPC, ""),
    "unknown host": socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
    "httpx protocol": httpx.UnsupportedProtocol(""),
    "httpx certificate": httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: expired"),
    **{f"HTTP {status}": http_error(status) for status in (400, 401, 403, 404, 409, 410, 422, 501, 505)},
    "requests 404": like("requests.exceptions.HTTPError", base=OSError, response=answer(404)),
    "urllib 404": url_error(404),
    "urllib certificate": urllib.error.URLError("certificate verify failed"),
    "aiohttp 400": like("aiohttp.client_exceptions.ClientResponseError", status=400),
    "google 403": like("google.api_core.exceptions.Forbidden", code=403, errors=[{"reason": "forbidden"}]),
    "azure 403": like("azure.core.exceptions.HttpResponseError", status_code=403, response=answer(403)),
    "aws 403": aws(403, "AccessDenied"),
    "aws bad request": aws(400, "ValidationException"),
    "aws without a response": like("botocore.exceptions.ClientError", response={}),
    "redis password": like("redis.exceptions.AuthenticationError", base=type(REDIS)),
    "connection kept": DBAPIError("SELECT 1", {}, Exception()),
    "duplicate": IntegrityError("INSERT", {}, sqlite3.IntegrityError("UNIQUE constraint failed")),
    "sqlite without a table": sqlite("no such table: toys_locked"),
    "sqlite full": sqlite("database or disk is full", sqlite3.SQLITE_FULL),
    "sqlite wrapped": OperationalError("SELECT 1", {}, sqlite("no such table: toys")),
    **{state: psycopg(state) for state in ("22003", "23505", "28P01", "42P01", "53100", "57014")},
    "SQLSTATE wrapped": OperationalError("SELECT 1", {}, psycopg("42P01")),
    "PostgreSQL password": connecting('FATAL:  password authentication failed for user "loader"'),
    "PostgreSQL no password": connecting("fe_sendauth: no password supplied"),
    "PostgreSQL database": connecting('FATAL:  database "toys" does not exist'),
    "PostgreSQL host": connecting('FATAL:  no pg_hba.conf entry for host "127.0.0.1"'),
    "cause": wrapped(ValueError()),
    "context": handled(TimeoutError()),
    "group": ExceptionGroup("", [TimeoutError(), ValueError()]),
}


def judged(error: object) -> bool:
    return should_retry(None, None, SimpleNamespace(data=error))


@pytest.mark.parametrize("error", TRANSIENT.values(), ids=TRANSIENT)
def test_error_that_may_pass_is_transient(error: Exception) -> None:
    assert judged(error)


@pytest.mark.parametrize("error", PERMANENT.values(), ids=PERMANENT)
def test_error_that_stays_is_not_transient(error: Exception) -> None:
    assert not judged(error)


@pytest.mark.parametrize("data", [None, "text", {"status": 503}])
def test_state_without_an_error_is_not_transient(data: object) -> None:
    assert not judged(data)


def test_errors_that_cause_each_other_end_the_search() -> None:
    one, two = ValueError(), ValueError()
    one.__cause__, two.__cause__ = two, one
    assert not judged(one)
    two.__cause__ = group = ExceptionGroup("", [one])
    assert not judged(one)
    group.__cause__ = one
    assert not judged(group)


def test_attribute_that_raises_does_not_cost_the_retry() -> None:
    # Prefect 3.9 takes a condition that raises for one that does not hold.
    class OddError(TimeoutError):
        @property
        def response(self) -> object:
            raise RuntimeError("no response yet")

        sqlstate = pgcode = orig = reason = headers = status_code = errors = response

    assert judged(OddError())


def test_condition_reads_the_data() -> None:
    condition = RETRIES["retry_condition_fn"]
    assert not inspect.iscoroutinefunction(condition)

    class AsyncState:
        data = TimeoutError()

        async def result(self) -> None:
            raise AssertionError("a coroutine in asynchronous tasks, which nobody awaits")

    assert condition(None, None, AsyncState())


# Real sockets and databases


def raised(work: Callable[[], object]) -> Exception:
    """The error of `work`."""
    try:
        work()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


@contextmanager
def listener(serve: Callable[[socket.socket], object]) -> Iterator[str]:
    """A server on a port of this machine that treats each connection by `serve`, and its URL."""

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            serve(connection)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


def reset(connection: socket.socket) -> None:
    """Close so that the other side gets a reset instead of an end."""
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def with_httpx(url: str) -> None:
    httpx.get(url, trust_env=False, timeout=10).raise_for_status()


def with_urllib(url: str) -> None:
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10)


clients = pytest.mark.parametrize("get", [with_httpx, with_urllib])


@clients
def test_refused_connection_is_transient(get: Callable[[str], None]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    assert judged(raised(lambda: get(url)))


@clients
def test_reset_connection_is_transient(get: Callable[[str], None]) -> None:
    with listener(reset) as url:
        error = raised(lambda: get(url))
    assert "reset" in f"{error!r}"
    assert judged(error)


@clients
def test_answer_that_is_cut_short_is_transient(get: Callable[[str], None]) -> None:
    def cut(connection: socket.socket) -> None:
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123")

    def read(url: str) -> None:
        if get is with_httpx:
            get(url)
        else:
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10).read()

    with listener(cut) as url:
        assert judged(raised(lambda: read(url)))


@pytest.mark.parametrize("wrap", [False, True], ids=["sqlite3", "SQLAlchemy"])
def test_locked_database_is_transient_and_missing_table_is_not(wrap: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 0})

    def execute(statement: str) -> None:
        if wrap:
            with engine.begin() as connection:
                connection.execute(text(statement))
        else:
            with closing(sqlite3.connect(path, timeout=0)) as raw, raw:
                raw.execute(statement)

    execute("CREATE TABLE a (n INTEGER)")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert judged(raised(lambda: execute("INSERT INTO a VALUES (1)")))
        other.execute("ROLLBACK")
    assert not judged(raised(lambda: execute("INSERT INTO b VALUES (1)")))
    engine.dispose()


def test_full_database_is_not_transient(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.execute("PRAGMA max_page_count = 2")
        connection.execute("CREATE TABLE a (b BLOB)")
        error = raised(lambda: connection.execute("INSERT INTO a VALUES (zeroblob(100000))"))
    assert "full" in str(error)
    assert not judged(error)


# Retry-After

SEVEN = {"Retry-After": "7"}


def in_seconds(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    "error",
    [
        http_error(429, SEVEN),
        http_error(503, {"retry-after": " 7 "}),
        url_error(429, {"RETRY-AFTER": "7"}),
        like("requests.exceptions.HTTPError", base=OSError, response=answer(429, SEVEN)),
        like("aiohttp.client_exceptions.ClientResponseError", status=429, headers=SEVEN),
        like("google.api_core.exceptions.TooManyRequests", code=429, response=answer(429, SEVEN)),
        like("azure.core.exceptions.HttpResponseError", response=answer(429, {"x-ms-retry-after-ms": "7000"})),
        aws(503, "SlowDown", {"retry-after": "7"}),
        wrapped(http_error(429, SEVEN)),
        ExceptionGroup("", [http_error(429, SEVEN), TimeoutError(), http_error(429, {"Retry-After": "3"})]),
    ],
    ids=["httpx", "blanks", "urllib", "requests", "aiohttp", "google", "azure", "aws", "cause", "group"],
)
def test_wait_that_the_server_asks_for_is_found(error: Exception) -> None:
    assert patience(error) == 7


def test_wait_may_be_a_date() -> None:
    assert 55 < (patience(http_error(503, {"Retry-After": in_seconds(60)})) or 0) <= 60


@pytest.mark.parametrize(
    "value",
    ["", "soon", "-5", "nan", "1e400", "0", "0x10", "1,5", PAST, "Fri, 99 Nov 2026 00:00:00 GMT"],
)
def test_wait_that_is_no_wait_is_ignored(value: str) -> None:
    error = http_error(429, {"Retry-After": value})
    assert patience(error) == 0
    assert judged(error)


def test_permanent_error_is_not_waited_for() -> None:
    assert patience(http_error(403, SEVEN)) is None


class Busy(http.server.ThreadingHTTPServer):
    """A server that turns the first request down with these headers, and answers the later ones."""

    def __init__(self, status: int, headers: dict[str, str]) -> None:
        self.times: list[float] = []
        times = self.times

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                times.append(time.monotonic())
                self.send_response(status if len(times) == 1 else 200)
                for name, value in headers.items() if len(times) == 1 else ():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def server_close(self) -> None:
        self.shutdown()
        super().server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@durable_task(version="1", refresh_cache=True)
def fetch(url: str, get: str) -> None:
    {"httpx": with_httpx, "urllib": with_urllib}[get](url)


@durable_task(version="1", refresh_cache=True)
async def fetch_async(url: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        (await client.get(url)).raise_for_status()


def without_delay(task: Any) -> Any:
    return task.with_options(retry_delay_seconds=0, retry_jitter_factor=0)


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(("status", "get"), [(429, "httpx"), (503, "urllib")])
def test_server_is_left_alone_for_as_long_as_it_asks(status: int, get: str) -> None:
    @flow
    def job(url: str) -> None:
        without_delay(fetch)(url, get)

    with Busy(status, {"Retry-After": "1"}) as server:
        job(server.url)
    first, second = server.times
    assert second - first >= 1


@pytest.mark.usefixtures("api")
def test_server_that_asks_for_too_long_a_wait_fails_the_task() -> None:
    @flow
    def job(url: str) -> None:
        assert without_delay(fetch)(url, "httpx", return_state=True).is_failed()

    longest = settings.retry_after_max.total_seconds()
    with Busy(429, {"Retry-After": f"{longest + 1:.0f}"}) as server:
        job(server.url)
    assert len(server.times) == 1


@pytest.mark.usefixtures("api")
def test_event_loop_is_not_stopped_by_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    clock = SimpleNamespace(sleep=slept.append)
    monkeypatch.setattr("{{ cookiecutter.package_name }}.durable.transient.time", clock)

    @flow
    async def job(url: str) -> None:
        await without_delay(fetch_async)(url)

    async def run(url: str) -> None:
        await job(url)

    with Busy(429, {"Retry-After": "60"}) as server:
        asyncio.run(run(server.url))
    assert len(server.times) == 2, "tried again after Prefect's own delay"
    assert slept == []


@pytest.mark.usefixtures("api")
def test_state_that_a_task_returns_has_no_error_to_judge() -> None:
    calls = []

    @durable_task(version="1", refresh_cache=True)
    def give_up() -> Any:
        calls.append(1)
        return Failed(message="bad data")

    @flow
    def job() -> None:
        without_delay(give_up)(return_state=True)

    job(return_state=True)
    assert len(calls) == 1
