"""Which errors are worth a retry: those that may pass by themselves, and no others.

Libraries that the project may not have are not imported: their errors are known by the names of their classes and by
what they carry, such as a status. Where the server says with Retry-After how long it wants to be left alone, a task
waits for so long, and then for the delay of its retry.
"""

import asyncio
import errno
import http.client
import re
import socket
import sqlite3
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from prefect.logging.loggers import task_run_logger
from pydantic import Field
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from .settings import ProjectSettings


class RetrySettings(ProjectSettings):
    """What all retry policies share."""

    retry_after_max: timedelta = Field(default=timedelta(minutes=10), ge=timedelta(0))
    """The longest `Retry-After` to wait for; a task that must wait longer fails."""
    retry_jitter: float = Field(default=0.5, gt=0, le=1)
    """By what part of itself a delay may be longer: 0.5 is up to one and a half times."""
    flow_retries: int = Field(default=0, ge=0, le=50)
    """How often a failed flow runs again, whatever its error: for deployed runs that nobody watches."""
    flow_retry_delay: timedelta = Field(default=timedelta(minutes=1), ge=timedelta(0), le=timedelta(days=30))
    """The delay before that."""


settings = RetrySettings()

LOST = (
    TimeoutError,
    ConnectionError,
    ssl.SSLEOFError,
    http.client.IncompleteRead,
    asyncio.IncompleteReadError,
    PoolTimeout,
)
"""Errors of connections and of waiting."""
LOST_OF = {
    "aiohttp.client_exceptions": {"ClientConnectionError", "ClientPayloadError"},
    "azure.core.exceptions": {"IncompleteReadError", "ServiceRequestError", "ServiceResponseError"},
    "botocore.exceptions": {"ConnectionError", "HTTPClientError", "IncompleteReadError"},
    "boto3.exceptions": {"RetriesExceededError"},
    "google.api_core.exceptions": {"Aborted", "RetryError"},
    "google.auth.exceptions": {"TransportError"},
    "httpx": {"TransportError"},
    "psycopg": {"OperationalError"},
    "psycopg2": {"OperationalError"},
    "redis.exceptions": {"ConnectionError", "ReadOnlyError", "TimeoutError", "TryAgainError"},
    "requests.exceptions": {"ChunkedEncodingError", "ConnectionError", "RetryError", "Timeout"},
    "s3transfer.exceptions": {"RetriesExceededError"},
    "urllib3.exceptions": {"ProtocolError", "TimeoutError"},
}
"""The same of other libraries, by module."""
REFUSED_OF = {
    "httpx": {"UnsupportedProtocol"},
    "redis.exceptions": {"AuthenticationError", "AuthorizationError"},
    "ssl": {"SSLCertVerificationError"},
}
"""Those among them that would come again."""
REFUSED = re.compile(
    "authentication failed|no password supplied|does not exist|pg_hba.conf|permission denied|not permitted to log in"
    "|SSL was required|certificate verify failed"
)
"""What the others say if they would: libpq gives no code where a server turns a connection down."""
ERRNOS = {errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETRESET, errno.ENETUNREACH}
"""Of an OSError that Python has no class for."""

STATUSES = {408, 425, 429, 500, 502, 503, 504}
"""HTTP statuses with which a server asks for another try."""
CODES = {
    "BandwidthLimitExceeded", "EC2ThrottledException", "LimitExceededException", "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException", "RequestLimitExceeded", "RequestThrottled", "RequestThrottledException",
    "RequestTimeout", "RequestTimeoutException", "SlowDown", "ThrottledException", "Throttling", "ThrottlingException",
    "TooManyRequestsException", "TransactionInProgressException",
    "backendError", "internalError", "rateLimitExceeded", "userRateLimitExceeded",
}  # fmt: skip
"""Codes of AWS (botocore/retries/standard.py) and of Google for the same; some come with the status 400 or 403."""
RETRY_AFTER = {"retry-after": 1.0, "retry-after-ms": 0.001, "x-ms-retry-after-ms": 0.001}
"""Headers that say how long to wait, and their unit in seconds."""

SQLSTATES = ("08", "40001", "40P01", "53000", "53200", "53300", "55P03", "57P01", "57P02", "57P03")
"""Lost connections, serialization failures, deadlocks, exhausted memory and connections, locks, and restarts of the
server (PostgreSQL manual, appendix A). Not a full disk, nor a statement that was cancelled."""
SQLITE_CODES = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}


def should_retry(task: Any, task_run: Any, state: Any) -> bool:
    """Tell Prefect whether to try a failed task run again: a `retry_condition_fn`.

    It reads `state.data`: in asynchronous tasks of Prefect 3.9 `state.result()` is a coroutine.

    Prefect 3.9 calls it where it then sleeps out the delay, in the task's own thread, so the wait that a server asks
    for is slept here. Where an event loop runs, that would stop it: there the wait is only Prefect's delay. A wait of
    more than the setting `retry_after_max` is not begun; the task fails, and a later run does it.
    """
    wait = patience(state.data) if isinstance(state.data, BaseException) else None
    if not wait:
        return wait is not None
    logger = task_run_logger(task_run, task)
    if wait > settings.retry_after_max.total_seconds():
        logger.error("The server asks to wait %.0f s, more than %s: not tried again", wait, settings.retry_after_max)
        return False
    if not _in_event_loop():
        logger.info("The server asks to wait %.1f s", wait)
        time.sleep(wait)
    return True


def patience(error: BaseException, seen: frozenset[int] = frozenset()) -> float | None:
    """Return for how many seconds the server asks to be left alone, or None if the error does not pass.

    An error may pass if one that it was raised from may, and a group if all of its members may.

    Args:
        error: as it was raised.
        seen: the ids of errors that led to this one; errors can cause each other in a circle.
    """
    seen |= {id(error)}
    if isinstance(error, BaseExceptionGroup):
        members = [patience(member, seen) for member in error.exceptions if id(member) not in seen]
        return None if None in members or not members else max(filter(None, members), default=0)
    waits = [_retry_after(error)] if _may_pass(error) else []
    causes = [patience(cause, seen) for cause in _causes(error) if id(cause) not in seen]
    return max([*waits, *(wait for wait in causes if wait is not None)], default=None)


def _causes(error: BaseException) -> Iterator[BaseException]:
    # SQLAlchemy keeps the driver's error as `orig`, urllib and urllib3 the socket's as `reason`.
    for cause in (error.__cause__, _read(error, "orig"), _read(error, "reason")):
        if isinstance(cause, BaseException):
            yield cause


def _may_pass(error: BaseException) -> bool:
    sqlstate = _read(error, "sqlstate") or _read(error, "pgcode")
    if isinstance(sqlstate, str):
        return sqlstate.startswith(SQLSTATES)
    match error:
        case sqlite3.OperationalError():
            return _is_locked(error)
        case DBAPIError():
            return error.connection_invalidated
        case socket.gaierror():
            return error.errno == socket.EAI_AGAIN
        case OSError() if error.errno in ERRNOS:
            return True
    if isinstance(error, LOST):
        return True
    if _is_of(LOST_OF, error):
        return not (_is_of(REFUSED_OF, error) or REFUSED.search(str(error)))
    return _status(error) in STATUSES or not CODES.isdisjoint(_codes(error))


def _is_of(names: dict[str, set[str]], error: BaseException) -> bool:
    return any(kind.__name__ in names.get(kind.__module__, ()) for kind in type(error).__mro__)


def _is_locked(error: sqlite3.OperationalError) -> bool:
    # The low byte is the kind of error, the others say more of it. An error that was not raised by SQLite has no code.
    code = _read(error, "sqlite_errorcode")
    return "is locked" in str(error) if code is None else code & 0xFF in SQLITE_CODES


def _status(error: BaseException) -> int | None:
    """The HTTP status, of the error or of the response that it carries."""
    for holder in (error, _read(error, "response")):
        for name in ("status_code", "status", "code"):
            if isinstance(status := _read(holder, name), int):
                return status
    status = _botocore(error, "ResponseMetadata").get("HTTPStatusCode")
    return status if isinstance(status, int) else None


def _codes(error: BaseException) -> set[Any]:
    """The names that AWS and Google give to what went wrong."""
    details = _read(error, "errors")
    reasons = [item.get("reason") for item in details if isinstance(item, dict)] if isinstance(details, list) else []
    return {_botocore(error, "Error").get("Code"), *reasons}


def _retry_after(error: BaseException) -> float:
    """The longest wait that the response's headers ask for, in seconds; 0 if they ask for none that can be read."""
    waits = [0.0]
    of_botocore = _botocore(error, "ResponseMetadata").get("HTTPHeaders")
    for headers in (_read(error, "headers"), _read(_read(error, "response"), "headers"), of_botocore):
        # Not every library's headers are a Mapping, or ignore the case of names.
        for name, value in headers.items() if headers and hasattr(headers, "items") else ():
            if unit := RETRY_AFTER.get(str(name).lower()):
                waits.append(_seconds(str(value), unit))
    return max(waits)


def _seconds(value: str, unit: float) -> float:
    """A number of units, or a date of HTTP (RFC 9110, section 10.2.3)."""
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value.strip()):
        return float(value) * unit
    try:
        then = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return 0
    return (then.replace(tzinfo=then.tzinfo or UTC) - datetime.now(UTC)).total_seconds()


def _botocore(error: BaseException, part: str) -> dict[str, Any]:
    """A part of the response of a botocore error, which is a dict."""
    response = _read(error, "response")
    found = response.get(part) if isinstance(response, dict) else None
    return found if isinstance(found, dict) else {}


def _read(holder: Any, name: str) -> Any:
    """An attribute, or None. Some of them raise, and in Prefect 3.9 a condition that raises is a no."""
    try:
        return getattr(holder, name, None)
    except Exception:
        return None


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
