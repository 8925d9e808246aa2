"""The transactional outbox: none, for there is no database whose transactions it could share."""

from collections.abc import Mapping, Sequence
from typing import Any

from .effects import JSON
from .errors import InputError
from .upserts import Connection


def effect(job: str, url: str, item: str, payload: JSON, ordering_key: str | None) -> dict[str, Any]:
    """Refuse an effect.

    Raises:
        RuntimeError: always; the message says what to do.
    """
    raise RuntimeError("step.send needs a database; without one, call `post` of durable in a task: at least once")


def write(connection: Connection, effects: Sequence[Mapping[str, Any]]) -> None:
    """Write effects: there are none."""


def backlog(job: str) -> dict[str, int]:
    """Return how many effects of a job are left, and how many were refused: none."""
    return {"left": 0, "refused": 0}


def check(job: str, reason: str = "") -> None:
    """Look that no effects are left: there are none."""


def undelivered(job: str, reason: str = "") -> str:
    """Return what `check` would raise: nothing."""
    return ""


def status() -> list[str]:
    """Return lines on the effects that are not delivered: there are none."""
    return []


def resend(job: str) -> str:
    """Refuse to send effects again.

    Raises:
        InputError: always.
    """
    raise InputError("this project has no database, and so no outbox")


def deliver_left(job: str) -> tuple[dict[str, int], str]:
    """Deliver what is left of a job's effects: nothing."""
    return {}, ""
