"""The generated `transient.py` knows the errors of real libraries, which they raise against real servers.

A generated project has none of these libraries unless it needs them, so its own tests know them by name only.
"""

import asyncio
import http.server
import importlib
import socket
import struct
import threading
import urllib.request
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import aiohttp
import azure.core.exceptions
import boto3
import google.api_core.exceptions
import httpx
import psycopg
import pytest
import redis
import requests
import sqlalchemy
import urllib3
from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import BlobServiceClient
from botocore.config import Config
from botocore.exceptions import ClientError
from conftest import Bake
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage


@pytest.fixture(scope="module")
def transient(bake: Bake) -> Iterator[ModuleType]:
    """The module of a project under a name of its own."""
    project = bake(project_slug="transient-errors", upsert="none", checkpoint="none")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(project / "src")
        yield importlib.import_module("transient_errors.durable.transient")


@pytest.fixture
def judged(transient: ModuleType) -> Callable[[BaseException], bool]:
    return lambda error: transient.should_retry(None, None, SimpleNamespace(data=error))


def raised(work: Callable[[], object]) -> BaseException:
    """The error of `work`, raised as it comes."""
    try:
        work()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def with_aiohttp(url: str) -> None:
    async def get() -> None:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            response.raise_for_status()

    asyncio.run(get())


def with_requests(url: str) -> None:
    with requests.Session() as session:
        session.trust_env = False
        session.get(url, timeout=10).raise_for_status()


def with_aws(url: str) -> None:
    config = Config(retries={"max_attempts": 0}, s3={"addressing_style": "path"}, proxies={})
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=url, config=config, **keys).list_objects_v2(Bucket="flights")


def with_google(url: str) -> None:
    client = storage.Client("flights", AnonymousCredentials(), client_options={"api_endpoint": url})
    client.bucket("flights").blob("a").reload(retry=None)


def with_azure(url: str) -> None:
    key = AzureNamedKeyCredential("a", "YQ==")
    BlobServiceClient(f"{url}/a", key, retry_total=0).get_container_client("flights").get_container_properties()


HTTP: dict[str, Callable[[str], object]] = {
    "aiohttp": with_aiohttp,
    "aws": with_aws,
    "azure": with_azure,
    "google": with_google,
    "httpx": lambda url: httpx.get(url, trust_env=False).raise_for_status(),
    "requests": with_requests,
    "urllib": lambda url: urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10),
}
OTHERS: dict[str, Callable[[str], object]] = {
    "psycopg": lambda url: psycopg.connect(f"host=127.0.0.1 port={url.rpartition(':')[2]} sslmode=disable"),
    "redis": lambda url: redis.Redis("127.0.0.1", int(url.rpartition(":")[2])).ping(),
    "sqlalchemy": lambda url: sqlalchemy.create_engine(
        f"postgresql+psycopg://127.0.0.1:{url.rpartition(':')[2]}/?sslmode=disable"
    ).connect(),
    "urllib3": lambda url: urllib3.PoolManager(retries=0).request("GET", url),
}
each_http = pytest.mark.parametrize("call", HTTP.values(), ids=HTTP)
each = pytest.mark.parametrize("call", {**HTTP, **OTHERS}.values(), ids={**HTTP, **OTHERS})


@pytest.fixture
def answering() -> Iterator[Callable[[int, dict[str, str]], str]]:
    """Start a server that answers each request with this status and these headers; return its URL."""
    servers = []

    def start(status: int, headers: dict[str, str]) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": "0"}.items():
                    self.send_header(name, value)
                self.end_headers()

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *args: Any) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


Answering = Callable[[int, dict[str, str]], str]
Judged = Callable[[BaseException], bool]


@each_http
@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_server_is_transient(
    call: Callable[[str], object], status: int, answering: Answering, judged: Judged
) -> None:
    assert judged(raised(lambda: call(answering(status, {}))))


@each_http
@pytest.mark.parametrize("status", [400, 403, 404])
def test_refusal_is_not_transient(
    call: Callable[[str], object], status: int, answering: Answering, judged: Judged
) -> None:
    assert not judged(raised(lambda: call(answering(status, {}))))


@each_http
def test_wait_that_the_server_asks_for_is_found(
    call: Callable[[str], object], answering: Answering, transient: ModuleType
) -> None:
    assert transient.patience(raised(lambda: call(answering(429, {"Retry-After": "7"})))) == 7


@each
def test_refused_connection_is_transient(call: Callable[[str], object], judged: Judged) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    assert judged(raised(lambda: call(url)))


@each
def test_connection_that_is_reset_is_transient(call: Callable[[str], object], judged: Judged) -> None:
    def reset() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            connection.recv(1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=reset, daemon=True)
        thread.start()
        error = raised(lambda: call(f"http://127.0.0.1:{server.getsockname()[1]}"))
        server.shutdown(socket.SHUT_RDWR)
    thread.join()
    assert judged(error)


def aws(code: str, status: int = 400) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutItem")


def wrapped(error: psycopg.Error) -> Exception:
    return sqlalchemy.exc.DBAPIError.instance("SELECT 1", {}, error, psycopg.Error)


@pytest.mark.parametrize(
    "error",
    [
        psycopg.errors.SerializationFailure(),
        psycopg.errors.DeadlockDetected(),
        psycopg.errors.LockNotAvailable(),
        psycopg.errors.AdminShutdown(),
        psycopg.errors.TooManyConnections(),
        psycopg.errors.ConnectionTimeout("connection timeout expired"),
        wrapped(psycopg.errors.SerializationFailure()),
        aws("ThrottlingException"),
        aws("ProvisionedThroughputExceededException"),
        aws("RequestLimitExceeded"),
        aws("SlowDown", 503),
        google.api_core.exceptions.ServiceUnavailable("busy"),
        google.api_core.exceptions.RetryError("timeout exceeded", TimeoutError()),
        google.api_core.exceptions.Forbidden("quota", errors=[{"reason": "rateLimitExceeded"}]),
        azure.core.exceptions.ServiceResponseError("aborted"),
        requests.exceptions.ChunkedEncodingError(),
        requests.exceptions.ReadTimeout(),
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientPayloadError(),
        redis.exceptions.BusyLoadingError(),
    ],
    ids=lambda error: f"{type(error).__module__}.{type(error).__name__} {error}"[:70],
)
def test_error_that_may_pass_is_transient(error: Exception, judged: Judged) -> None:
    assert judged(error)


@pytest.mark.parametrize(
    "error",
    [
        psycopg.errors.UniqueViolation(),
        psycopg.errors.UndefinedTable(),
        psycopg.errors.DiskFull(),
        psycopg.errors.QueryCanceled(),
        psycopg.errors.InvalidPassword(),
        psycopg.OperationalError('FATAL:  password authentication failed for user "loader"'),
        psycopg.OperationalError('FATAL:  database "flights" does not exist'),
        psycopg.ProgrammingError('invalid connection option "nonsense"'),
        wrapped(psycopg.errors.UniqueViolation()),
        aws("ValidationException"),
        aws("AccessDenied", 403),
        google.api_core.exceptions.Forbidden("no", errors=[{"reason": "forbidden"}]),
        azure.core.exceptions.ClientAuthenticationError("no"),
        azure.core.exceptions.DecodeError("no JSON"),
        requests.exceptions.InvalidURL(),
        requests.exceptions.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"),
        requests.exceptions.TooManyRedirects(),
        aiohttp.InvalidURL("x"),
        redis.exceptions.AuthenticationError(),
        redis.exceptions.ResponseError("WRONGTYPE"),
    ],
    ids=lambda error: f"{type(error).__module__}.{type(error).__name__} {error}"[:70],
)
def test_error_that_stays_is_not_transient(error: Exception, judged: Judged) -> None:
    assert not judged(error)


def test_each_name_is_that_of_a_real_class(transient: ModuleType) -> None:
    """A library that renames a class would otherwise cost its retries in silence. psycopg2 is not installed here."""
    for module, names in [*transient.LOST_OF.items(), *transient.REFUSED_OF.items()]:
        if module != "psycopg2":
            for name in names:
                kind = getattr(importlib.import_module(module), name)
                assert (kind.__module__, kind.__name__) == (module, name)
