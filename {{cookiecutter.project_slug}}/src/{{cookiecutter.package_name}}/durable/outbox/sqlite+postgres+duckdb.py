"""The transactional outbox: a step writes its requests in its own transaction; they are delivered after the commit.

Delivery guarantee: at least once; exactly once where the receiver honours the header `Idempotency-Key`. A delivered
effect keeps its row, without the payload: a step that is repeated does not send it again.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import sqlalchemy
from filelock import FileLock
from prefect.cache_policies import NO_CACHE
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
from .effects import JSON, idempotency_key
from .errors import EffectsNotDeliveredError, InputError, one_line
from .names import checked
from .progress import progress
from .settings import ProjectSettings, settings
from .tables import UtcDateTime, internal
from .tasks import durable_task
from .upserts import ROW_LOCKS, insert, transaction


class OutboxSettings(ProjectSettings):
    """When effects fail a run."""

    max_refused: int = Field(default=0, ge=0)
    """The number of refused effects of a job above which its runs fail."""


outbox_settings = OutboxSettings()

BATCH = 100
"""Effects whose acknowledgements are written together: as many may be sent again after a crash."""
FAILURES = 1000
"""After so many failed requests an attempt ends."""
BEHIND = "they wait behind a refused one with the same ordering key"
SHOWN = 20
"""Refused effects of a job that `status` lists."""

outbox = Table(
    "outbox_effects",
    internal,
    # In the order of `send`.
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
    """Return the row of an effect.

    Raises:
        ValueError: one of them cannot be kept; see `Step.send`.
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
    """Write effects into the outbox, except those that are or were there. The caller commits."""
    for first in range(0, len(effects), BATCH):
        connection.execute(insert(outbox).values(effects[first : first + BATCH]).on_conflict_do_nothing())


def backlog(job: str) -> dict[str, int]:
    """Return how many effects of a job are left, and how many were refused."""
    refused = func.count(outbox.c.refused)
    with transaction() as connection:
        found = connection.execute(select(func.count() - refused, refused).where(outbox.c.job == job, UNDELIVERED))
        return dict(zip(("left", "refused"), found.one(), strict=True))


def check(job: str, reason: str = "") -> None:
    """Look that a job has no effects that are left, and not too many that were refused.

    Args:
        job: the full name of the job.
        reason: why effects are left.

    Raises:
        EffectsNotDeliveredError: some are left, or more were refused than the setting `max_refused` allows.
    """
    if found := undelivered(job, reason):
        raise EffectsNotDeliveredError(found)


def undelivered(job: str, reason: str = "") -> str:
    """Return what `check` would raise, as one line; empty if all is well."""
    left, refused = backlog(job).values()
    found = []
    if left:
        again = "" if reason == BEHIND else ", run again for them"
        found.append(f"{left} not delivered{f' ({reason})' if reason else ''}{again}")
    if refused > outbox_settings.max_refused:
        found.append(f"{refused} refused, see `make status`, then `make resend JOB={job}`")
    return f"effects of {job}: {'; '.join(found)}" if found else ""


def status() -> list[str]:
    """Return lines on the effects that are not delivered: how many, by job, and why those were refused."""
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
        One line that says how many were delivered.

    Raises:
        InputError: there are none.
        EffectsNotDeliveredError: some are left, or were refused.
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
    """Deliver what is left of a job's effects in its flow run: with the project's retries, and a progress artifact.

    Returns:
        How many effects were delivered by this run, are left and were refused, if there are any; and why some are left.
    """
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

            state = deliver.with_options(persist_result=False, cache_policy=NO_CACHE)(job, count, return_state=True)
        if not state.is_completed():
            reason = one_line(state.result(raise_on_failure=False))
    return {"delivered": sum(numbers), **backlog(job)}, reason


@durable_task(version="1")
def deliver(job: str, delivered: Callable[[int], None]) -> None:
    """Deliver the effects of a job that are left: `attempt`, as a task with the project's retries."""
    attempt(job, delivered)


def attempt(job: str, delivered: Callable[[int], None]) -> None:
    """Try to deliver each effect of a job that is left, once.

    Args:
        job: the full name of the job.
        delivered: is called with the number of effects that were delivered, batch by batch.

    Raises:
        EffectsNotDeliveredError: some are left. It was raised from what failed, so that a retry policy can judge it.
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
    """Deliver some effects, and note which; return None if there are none that can be delivered."""
    if ROW_LOCKS:
        # Other processes pass over the locked rows. A crash frees them.
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
    # One writer at a time: no transaction is open during a request.
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
    """Keep other processes from delivering the job's effects, where rows cannot be locked. A crash frees the lock."""
    if ROW_LOCKS:
        yield
        return
    lock = settings.home / "outbox" / f"{job}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        yield


def _next(connection: Connection, job: str, delivery: Delivery, lock: bool = False) -> Sequence[Any]:
    """Return the next effects, in their order: the first of each ordering key, with some of those behind it."""
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
    # Who has locked the first effect of an ordering key has those behind it too.
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
