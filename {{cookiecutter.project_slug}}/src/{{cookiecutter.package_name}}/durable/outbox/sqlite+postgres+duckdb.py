"""The transactional outbox: a step stores its requests in its own transaction; the run delivers them after the commit.

Delivery guarantee: at least once; exactly once if the receiver honours the header `Idempotency-Key`. A delivered
effect keeps its row, without the payload, so that a repeated step does not send it again.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import sqlalchemy
from filelock import FileLock
from pydantic import Field
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    or_,
    select,
    update,
)

from .delivery import TIMEOUT, Delivery, checked_url, delivery_settings, receiver_of
from .errors import EffectsNotDeliveredError, InputError, one_line
from .idempotency import JSON, idempotency_key
from .names import checked
from .settings import ProjectSettings, settings
from .tables import UtcDateTime, internal
from .upserts import ROW_LOCKS, insert, transaction

# `status` needs nothing of Prefect, which is slow to import.
if TYPE_CHECKING:
    from prefect import Task


class OutboxSettings(ProjectSettings):
    """Settings for refused effects."""

    max_refused: int = Field(default=0, ge=0)
    """The number of refused effects of a job above which its runs fail."""


outbox_settings = OutboxSettings()

BATCH = 100
"""The size of a batch. Its acknowledgements are written together, so a crash may send a batch again."""
FAILURES = 1000
"""Failed requests after which an attempt ends."""
BEHIND = "they wait behind a refused one with the same ordering key"
SHOWN = 20
"""The maximum number of refused effects that `status` lists for a job."""

outbox = Table(
    "outbox_effects",
    internal,
    # Ids follow the order of `send`.
    Column(
        "id", BigInteger().with_variant(Integer, "sqlite"), sqlalchemy.Sequence("outbox_effects_id"), primary_key=True
    ),
    Column("job", String(200), nullable=False),
    Column("item", String(200), nullable=False),
    Column("key", String(64), nullable=False),
    Column("url", String(2000), nullable=False),
    Column("receiver", String(300), nullable=False),
    Column("ordering_key", String(200)),
    Column("payload", Text),
    Column("sent_at", UtcDateTime, nullable=False),
    Column("delivered_at", UtcDateTime),
    Column("refused", Text),
    UniqueConstraint("key", "url"),
)
UNDELIVERED = outbox.c.delivered_at.is_(None)
LEFT = UNDELIVERED & outbox.c.refused.is_(None)
# DuckDB has no partial indexes.
for _name, _columns in {"left": ("job", "id"), "order": ("job", "ordering_key", "id")}.items():
    Index(
        f"outbox_effects_{_name}",
        *(outbox.c[column] for column in _columns),
        postgresql_where=UNDELIVERED,
        sqlite_where=UNDELIVERED,
    ).ddl_if(callable_=lambda *_, dialect, **__: dialect.name != "duckdb")


def effect(job: str, url: str, item: str, payload: JSON, ordering_key: str | None) -> dict[str, Any]:
    """Build the outbox row of an effect.

    Raises:
        ValueError: an argument is too long, or cannot be stored unchanged; see `Step.send`.
    """
    url = checked_url(url, checked(item, "item"))
    return {
        "job": job,
        "item": item,
        "key": idempotency_key(job, item, payload),
        "url": url,
        "receiver": receiver_of(url),
        "ordering_key": None if ordering_key is None else checked(ordering_key, "ordering key"),
        "payload": json.dumps(payload, separators=(",", ":")),
        "sent_at": datetime.now(UTC),
    }


def write(connection: Connection, effects: Sequence[Mapping[str, Any]]) -> None:
    """Write effects into the outbox, and skip duplicates, delivered ones included. The caller commits."""
    for first in range(0, len(effects), BATCH):
        connection.execute(insert(outbox).values(effects[first : first + BATCH]).on_conflict_do_nothing())


def backlog(job: str) -> dict[str, int]:
    """Count the effects of a job that are left, and those that were refused."""
    refused = func.count(outbox.c.refused)
    with transaction() as connection:
        found = connection.execute(select(func.count() - refused, refused).where(outbox.c.job == job, UNDELIVERED))
        return dict(zip(("left", "refused"), found.one(), strict=True))


def check(job: str, reason: str = "") -> None:
    """Check that a job has no effects left, and not too many refused ones.

    Args:
        job: the full name of the job.
        reason: why effects are left.

    Raises:
        EffectsNotDeliveredError: effects are left, or more were refused than the setting `max_refused` allows.
    """
    if found := undelivered(job, reason):
        raise EffectsNotDeliveredError(found)


def undelivered(job: str, reason: str = "") -> str:
    """Return the message that `check` raises, as one line; empty if all is well."""
    left, refused = backlog(job).values()
    found = []
    if left:
        again = "" if reason == BEHIND else ", run again for them"
        found.append(f"{left} not delivered{f' ({reason})' if reason else ''}{again}")
    if refused > outbox_settings.max_refused:
        found.append(f"{refused} refused, see `make status`, then `make resend JOB={job}`")
    return f"effects of {job}: {'; '.join(found)}" if found else ""


def status() -> list[str]:
    """Return lines about undelivered effects: their number by job, and the reasons of refused ones."""
    counts = select(outbox.c.job, func.count(), func.count(outbox.c.refused)).where(UNDELIVERED)
    why = select(outbox.c.item, outbox.c.refused).where(UNDELIVERED, outbox.c.refused.is_not(None))
    lines = []
    with transaction() as connection:
        for job, count, refused in connection.execute(counts.group_by(outbox.c.job).order_by(outbox.c.job)).all():
            lines.append(f"effects of {job}: {count - refused} left, {refused} refused")
            reasons = connection.execute(why.where(outbox.c.job == job).order_by(outbox.c.id).limit(SHOWN))
            lines += [f"  {item!r} was refused: {reason}" for item, reason in reasons]
            if refused:
                lines.append(f"  `make resend JOB={job}` sends refused effects again")
    return lines


def resend(job: str) -> str:
    """Send the refused effects of a job again, and those that are left, once and without a flow run.

    Returns:
        A line with the number of delivered effects.

    Raises:
        InputError: the job has no such effects.
        EffectsNotDeliveredError: effects are left, or were refused.
    """
    if not any(backlog(job).values()):
        raise InputError(f"no effects of a job {job!r} are left or refused; `make status` shows those that are")
    with transaction() as connection:
        connection.execute(update(outbox).where(outbox.c.job == job, UNDELIVERED).values(refused=None))
    numbers: list[int] = []
    reason = ""
    try:
        attempt(job, numbers.append)
    except EffectsNotDeliveredError as error:
        reason = str(error)
    check(job, reason)
    return f"effects of {job}: {sum(numbers)} delivered"


def deliver_left(job: str) -> tuple[dict[str, int], str]:
    """Deliver the job's remaining effects in its flow run, with the project's retries and a progress artifact.

    Returns:
        How many effects this run delivered, are left and were refused, if there are any; and why some are left.
    """
    from .progress import progress

    before = backlog(job)
    if not any(before.values()):
        return {}, ""
    numbers: list[int] = []
    reason = ""
    if before["left"]:
        with progress(f"{job.partition('/')[0]}-delivery", f"{job}: effects", before["left"]) as advance:

            def count(number: int) -> None:
                numbers.append(number)
                for _ in range(number):
                    advance()

            state = delivery_task()(job, count, return_state=True)
        if not state.is_completed():
            reason = one_line(state.result(raise_on_failure=False))
    return {"delivered": sum(numbers), **backlog(job)}, reason


def delivery_task() -> "Task[[str, Callable[[int], None]], None]":
    """Return `attempt` as a task with the project's retries, which stores nothing."""
    from prefect.cache_policies import NO_CACHE

    from .tasks import durable_task

    return durable_task(name="deliver", persist_result=False, cache_policy=NO_CACHE)(attempt)


def attempt(job: str, delivered: Callable[[int], None]) -> None:
    """Try once to deliver each effect of a job that is left.

    Args:
        job: the full name of the job.
        delivered: called after each batch with the number of delivered effects.

    Raises:
        EffectsNotDeliveredError: effects are left. Its cause holds the failures, for the retry policy.
    """
    requests = delivery_settings.outbox_requests
    limits = httpx.Limits(max_connections=requests, max_keepalive_connections=requests)
    with (
        _alone(job),
        httpx.Client(timeout=TIMEOUT, limits=limits) as client,
        ThreadPoolExecutor(requests) as pool,
    ):
        delivery = Delivery(client, pool)
        while len(delivery.failed) < FAILURES:
            if outcomes := _deliver_batch(job, delivery):
                delivered([*outcomes.values()].count(""))
            elif outcomes is None:
                break
    if left := backlog(job)["left"]:
        failures = list(delivery.failed.values())
        if not failures:
            raise EffectsNotDeliveredError(BEHIND)
        raise EffectsNotDeliveredError(str(failures[0])) from ExceptionGroup(f"{left} effects are left", failures)


def _deliver_batch(job: str, delivery: Delivery) -> dict[int, str] | None:
    """Deliver a batch and record the outcomes; return None if no effect can be delivered."""
    if ROW_LOCKS:
        # Other processes skip the locked rows; a crash frees the locks.
        with transaction() as connection:
            if effects := _next(connection, job, delivery, lock=True):
                outcomes = delivery.deliver(effects)
                _note(connection, outcomes)
                return outcomes
            theirs = _next(connection, job, delivery)
        if theirs:
            time.sleep(0.2)
            return {}
        return None
    # The database allows one writer at a time: hold no transaction during a request.
    with transaction() as connection:
        effects = _next(connection, job, delivery)
    if not effects:
        return None
    outcomes = delivery.deliver(effects)
    with transaction() as connection:
        _note(connection, outcomes)
    return outcomes


@contextmanager
def _alone(job: str) -> Iterator[None]:
    """Lock the job's delivery against other processes, if rows cannot be locked. A crash frees the lock."""
    if ROW_LOCKS:
        yield
        return
    lock = settings.home / "outbox" / f"{job}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        yield


def _next(connection: Connection, job: str, delivery: Delivery, lock: bool = False) -> Sequence[Any]:
    """Return the next effects in order: the first of each ordering key, and some of those behind it."""
    ours = outbox.c.job == job
    firsts = select(func.min(outbox.c.id)).where(ours, UNDELIVERED, outbox.c.ordering_key.is_not(None))
    query = select(outbox).where(
        ours,
        LEFT,
        outbox.c.id.not_in(delivery.failed),
        outbox.c.receiver.not_in(delivery.resting),
        or_(outbox.c.ordering_key.is_(None), outbox.c.id.in_(firsts.group_by(outbox.c.ordering_key))),
    )
    query = query.order_by(outbox.c.id).limit(BATCH)
    # The lock on the first effect of an ordering key also covers those behind it.
    effects = {row.id: row for row in connection.execute(query.with_for_update(skip_locked=True) if lock else query)}
    if keys := {row.ordering_key for row in effects.values()} - {None}:
        behind = select(outbox).where(ours, UNDELIVERED, outbox.c.ordering_key.in_(keys))
        effects |= {row.id: row for row in connection.execute(behind.order_by(outbox.c.id).limit(BATCH))}
    return [effects[number] for number in sorted(effects)]


def _note(connection: Connection, outcomes: Mapping[int, str]) -> None:
    delivered = [number for number, refused in outcomes.items() if not refused]
    change = update(outbox).where(outbox.c.id.in_(delivered))
    connection.execute(change.values(delivered_at=datetime.now(UTC), payload=None))
    for number, refused in outcomes.items():
        if refused:
            connection.execute(update(outbox).where(outbox.c.id == number).values(refused=refused))
