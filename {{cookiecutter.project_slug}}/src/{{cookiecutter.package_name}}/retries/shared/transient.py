"""Which errors are worth a retry: those that may pass by themselves, and no others."""

from collections.abc import Iterator
from typing import Any

import httpx
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses with which a server asks for another try."""


def is_transient(task: Any, task_run: Any, state: Any) -> bool:
    """Tell Prefect whether to try a failed task run again: a `retry_condition_fn`.

    A plain function that reads `state.data`, for Prefect takes no other kind of callable there, and `state.result()`
    is a coroutine in asynchronous tasks.
    """
    error = state.data
    return isinstance(error, BaseException) and any(map(_may_pass, _chain(error)))


def _may_pass(error: BaseException) -> bool:
    match error:
        case httpx.HTTPStatusError():
            return error.response.status_code in STATUSES
        case OperationalError():
            # A locked or busy database, a lost connection; not a missing table, which is the same class in SQLite.
            text = str(error.orig)
            return error.connection_invalidated or "locked" in text or "busy" in text
        case DBAPIError():
            return error.connection_invalidated
    return isinstance(error, (TimeoutError, ConnectionError, httpx.TransportError, PoolTimeout))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and the ones it was raised from."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__
