"""Classification of errors: only transient errors are retried.

Optional libraries are not imported: their errors are recognised by class names and by attributes such as a status. If a
server sends `Retry-After`, a synchronous task waits that long, and then for the delay of its retry.
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
    """The settings that all retry policies share."""

    retry_after_max: timedelta = Field(default=timedelta(minutes=10), ge=timedelta(0))
    """The longest `Retry-After` to wait for. A task that would have to wait longer fails."""
    retry_jitter: float = Field(default=0.5, gt=0, le=1)
    """The jitter: the fraction by which a delay may grow. 0.5 allows up to one and a half times the delay."""
    flow_retries: int = Field(default=0, ge=0, le=50)
    """The number of retries of a failed flow, whatever its error, for unattended deployed runs."""
    flow_retry_delay: timedelta = Field(default=timedelta(minutes=1), ge=timedelta(0), le=timedelta(days=30))
    """The delay before each retry of a flow."""


settings = RetrySettings()

LOST = (
    TimeoutError,
    ConnectionError,
    ssl.SSLEOFError,
    http.client.IncompleteRead,
    asyncio.IncompleteReadError,
    PoolTimeout,
)
"""Transient errors: lost connections and timeouts."""
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
"""Transient errors of other libraries, by module."""
REFUSED_OF = {
    "httpx": {"UnsupportedProtocol"},
    "redis.exceptions": {"AuthenticationError", "AuthorizationError"},
    "ssl": {"SSLCertVerificationError"},
}
"""Subclasses of them that are permanent."""
REFUSED = re.compile(
    "authentication failed|no password supplied|does not exist|pg_hba.conf|permission denied|not permitted to log in"
    "|SSL was required|certificate verify failed"
)
"""Messages of permanent connection errors: libpq gives no code when a server refuses a connection."""
ERRNOS = {errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETRESET, errno.ENETUNREACH}
"""Numbers of transient OSErrors without a Python class of their own."""

STATUSES = {408, 425, 429, 500, 502, 503, 504}
"""HTTP statuses of transient errors."""
CODES = {
    "BandwidthLimitExceeded", "EC2ThrottledException", "LimitExceededException", "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException", "RequestLimitExceeded", "RequestThrottled", "RequestThrottledException",
    "RequestTimeout", "RequestTimeoutException", "SlowDown", "ThrottledException", "Throttling", "ThrottlingException",
    "TooManyRequestsException", "TransactionInProgressException",
    "backendError", "internalError", "rateLimitExceeded", "userRateLimitExceeded",
}  # fmt: skip
"""Codes of transient errors in AWS (botocore/retries/standard.py) and Google; some come with status 400 or 403."""
RETRY_AFTER = {"retry-after": 1.0, "retry-after-ms": 0.001, "x-ms-retry-after-ms": 0.001}
"""Headers with the time to wait, and their unit in seconds."""

SQLSTATES = ("08", "40001", "40P01", "53000", "53200", "53300", "55P03", "57P01", "57P02", "57P03")
"""Lost connections, serialization failures, deadlocks, exhausted memory and connections, locks, and server restarts
(PostgreSQL manual, appendix A). A full disk and a cancelled statement are not transient."""
SQLITE_CODES = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}


def should_retry(task: Any, task_run: Any, state: Any) -> bool:
    """Decide whether Prefect retries a failed task run: a `retry_condition_fn`.

    It reads `state.data`, because `state.result()` is a coroutine in asynchronous tasks of Prefect 3.9.

    Prefect 3.9 calls it in the task's thread and then sleeps for the delay, so this function sleeps for `Retry-After`.
    Inside an event loop it does not: sleeping would block the loop, and only Prefect's delay applies. If the wait
    exceeds the setting `retry_after_max`, the task fails at once, and a later run does it.
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
    """Return the seconds that the server asks to wait, 0 for any other transient error, or None for a permanent one.

    An error is transient if one of its causes is, and a group if all of its members are.

    Args:
        error: the raised exception.
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
    # SQLAlchemy stores the driver's error as `orig`, urllib and urllib3 the socket's error as `reason`.
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
    # The low byte is the primary code. An error that SQLite itself did not raise has no code.
    code = _read(error, "sqlite_errorcode")
    return "is locked" in str(error) if code is None else code & 0xFF in SQLITE_CODES


def _status(error: BaseException) -> int | None:
    """Return the HTTP status of the error, or of its response."""
    for holder in (error, _read(error, "response")):
        for name in ("status_code", "status", "code"):
            if isinstance(status := _read(holder, name), int):
                return status
    status = _botocore(error, "ResponseMetadata").get("HTTPStatusCode")
    return status if isinstance(status, int) else None


def _codes(error: BaseException) -> set[Any]:
    """Return the error codes of AWS and Google in an error."""
    details = _read(error, "errors")
    reasons = [item.get("reason") for item in details if isinstance(item, dict)] if isinstance(details, list) else []
    return {_botocore(error, "Error").get("Code"), *reasons}


def _retry_after(error: BaseException) -> float:
    """Return the longest wait in the response's headers, in seconds; 0 if none can be read."""
    waits = [0.0]
    of_botocore = _botocore(error, "ResponseMetadata").get("HTTPHeaders")
    for headers in (_read(error, "headers"), _read(_read(error, "response"), "headers"), of_botocore):
        # In some libraries the headers are not a Mapping, or their names are case-sensitive.
        for name, value in headers.items() if headers and hasattr(headers, "items") else ():
            if unit := RETRY_AFTER.get(str(name).lower()):
                waits.append(_seconds(str(value), unit))
    return max(waits)


def _seconds(value: str, unit: float) -> float:
    """Convert a number of units, or an HTTP date (RFC 9110, section 10.2.3), to seconds from now."""
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value.strip()):
        return float(value) * unit
    try:
        then = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return 0
    return (then.replace(tzinfo=then.tzinfo or UTC) - datetime.now(UTC)).total_seconds()


def _botocore(error: BaseException, part: str) -> dict[str, Any]:
    """Return a part of a botocore error's response, or an empty dict."""
    response = _read(error, "response")
    found = response.get(part) if isinstance(response, dict) else None
    return found if isinstance(found, dict) else {}


def _read(holder: Any, name: str) -> Any:
    """Return an attribute, or None. Some attributes raise, and Prefect 3.9 takes a failing condition for a no."""
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
