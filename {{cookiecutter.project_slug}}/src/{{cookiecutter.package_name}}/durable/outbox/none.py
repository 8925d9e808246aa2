"""No transactional outbox: without a database, requests cannot be part of its transactions."""

from collections.abc import Mapping, Sequence
from typing import Any

from .errors import InputError
from .idempotency import JSON
from .upserts import Connection


def effect(job: str, url: str, item: str, payload: JSON, ordering_key: str | None) -> dict[str, Any]:
    """Reject an effect: the project has no outbox.

    Raises:
        RuntimeError: always; the message says what to do.
    """
    raise RuntimeError("step.send needs a database; without one, call `post` of durable in a task: at least once")


def write(connection: Connection, effects: Sequence[Mapping[str, Any]]) -> None:
    """Do nothing: the project has no effects."""


def backlog(job: str) -> dict[str, int]:
    """Return zeros: no effects are left, and none were refused."""
    return {"left": 0, "refused": 0}


def check(job: str, reason: str = "") -> None:
    """Do nothing: no effects are left."""


def undelivered(job: str, reason: str = "") -> str:
    """Return an empty text, as `check` never raises."""
    return ""


def status() -> list[str]:
    """Return no lines: the project has no effects."""
    return []


def resend(job: str) -> str:
    """Raise an error: the project has no refused effects to send again.

    Raises:
        InputError: always.
    """
    raise InputError("this project has no database, and so no outbox")


def deliver_left(job: str) -> tuple[dict[str, int], str]:
    """Deliver nothing: no effects are left."""
    return {}, ""
