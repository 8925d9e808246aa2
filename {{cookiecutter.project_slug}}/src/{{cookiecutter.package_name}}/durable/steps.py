"""Steps: the writes of a chunk and its checkpoint.

A task's code is the same for every kind of checkpoint. With checkpoints in the database, writes and checkpoint commit
in one transaction: exactly once in that database. Otherwise the checkpoint follows the writes: at least once, which
an idempotent upsert makes harmless.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from . import checkpoints, claims, outbox, rejects, upserts
from .checkpoints import Checkpoint
from .errors import InputError
from .idempotency import JSON
from .rejects import Reject
from .upserts import Connection

__all__ = ["Step", "checkpoint", "full_name", "suffix"]


@dataclass
class Step:
    """The step of a chunk: a context manager around the writes, which `run_chunks` passes to the task.

    `with step as connection` yields a connection in a transaction. The transaction commits when the block ends, and
    rolls back if the block raises. It yields None if another process has done the chunk meanwhile: then return without
    writing. Compute first and open the step only for the writes: other writers wait until it ends.

    Example:
        with step as connection:
            if connection is None:
                return None
            written = upsert(connection, orders, rows)
    """

    job: str
    """The full name of the job: the flow and the job, `load-orders/orders`."""
    key: str
    """The chunk's key."""
    epoch: str
    """The id of the database: results that were stored for an older database do not count for this one."""
    label: str = field(compare=False)
    """The chunk's name for people."""
    finish: Callable[[Connection], None] | None = field(default=None, repr=False, compare=False)
    """Called at the end of the step's transaction, unless records of the chunk were rejected."""
    _rejected: int = field(default=0, init=False, repr=False, compare=False)
    _open: AbstractContextManager[Connection | None] | None = field(default=None, init=False, repr=False, compare=False)
    _connection: Connection | None = field(default=None, init=False, repr=False, compare=False)
    _effects: list[dict[str, Any]] = field(default_factory=list, init=False, repr=False, compare=False)

    def __enter__(self) -> Connection | None:
        self._open = opened = self._transaction()
        self._connection = opened.__enter__()
        return self._connection

    @contextmanager
    def _transaction(self) -> Iterator[Connection | None]:
        # Without a database the stored result is the chunk's only output: the run writes the checkpoint after it.
        with checkpoint(self.job, self.epoch).step(self.key) if upserts.WRITES else upserts.transaction() as connection:
            self._effects.clear()
            yield connection
            if connection is not None:
                outbox.write(connection, self._effects)
                if self.finish and not self._rejected:
                    self.finish(connection)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        opened, self._open, self._connection = self._open, None, None
        if opened is not None:
            opened.__exit__(kind, error, traceback)

    def send(self, url: str, item: str, payload: JSON, *, ordering_key: str | None = None) -> str:
        """Send a JSON POST request after the step commits, by a row in the outbox that commits with the step.

        The run delivers it after its chunks, with the header `Idempotency-Key`, until the receiver acknowledges it.
        Delivery guarantee: exactly once if the receiver honours the key, at least once otherwise. A repeated step adds
        no duplicate. Set headers such as Authorization with `delivery_headers`: the outbox stores none.

        Args:
            url: the receiver's URL, up to 2000 characters, without a password.
            item: what the effect is about, up to 200 characters: two equal payloads of one job need two items.
            payload: plain JSON.
            ordering_key: such as a customer's id, up to 200 characters. The job's effects with the same key are
                delivered one by one, in the order of sending; chunks run several at a time. A refused effect holds back
                those behind it.

        Returns:
            The idempotency key, 64 hex digits.

        Raises:
            ValueError: an argument is too long, or cannot be stored unchanged.
            RuntimeError: the step is not open, or the project has no database.

        Example:
            with step as connection:
                if connection is None:
                    return None
                upsert(connection, orders, rows)
                for row in rows:
                    payload = {"id": row["id"], "total": str(row["total"])}
                    step.send("https://crm.example.com/orders", f"order {row['id']}", payload)
        """
        effect = outbox.effect(self.job, url, item, payload, ordering_key)
        if self._open is None:
            raise RuntimeError("step.send works in `with step as connection`")
        self._effects.append(effect)
        key: str = effect["key"]
        return key

    def claim(self, items: Iterable[str]) -> list[str]:
        """Claim items for this step, and return those that no step of the job has claimed before.

        The claims commit with the step, and roll back with it. So each item is handled exactly once in this database,
        also if a corrected source brings it again in a changed chunk. For effects that an upsert does not make
        harmless, such as adding to a total. Claim before other writes: a step that claims the same item waits for this
        one to end.

        Args:
            items: what the items are known by, such as a record's id: text of 1 to 200 characters each. Thousands at
                once are fast; one by one they are not.

        Returns:
            The new ones, in order and without duplicates.

        Raises:
            ValueError: an item is not such text, or cannot be stored unchanged.
            RuntimeError: the step is not open, or the project has no database.

        Example:
            with step as connection:
                if connection is None:
                    return None
                amounts = {str(row["id"]): row["amount"] for row in rows}
                amount = sum(amounts[item] for item in step.claim(amounts))
                connection.execute(update(totals).values(amount=totals.c.amount + amount))
        """
        if self._connection is None:
            raise RuntimeError("step.claim works in `with step as connection`, with a connection that is not None")
        return claims.claim(self._connection, self.job, items)

    def set_aside(self, bad: Sequence[Reject]) -> None:
        """Store the rejected records of the chunk, with their reasons. The run goes on. Idempotent.

        Args:
            bad: all rejected records of the chunk; an empty list is fine.
        """
        rejects.set_aside(self.job, self.key, self.label, bad)
        self._rejected = len(bad)


def full_name(flow: str, job: str) -> str:
    """Return the full name of a flow's job, which no other flow's job shares.

    Raises:
        InputError: `job` is not 1 to 100 letters, digits, `.`, `_` and `-`, beginning with a letter or a digit.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", job):
        raise InputError(f"{job!r} cannot be the name of a job: use up to 100 letters, digits, `.`, `_` and `-`")
    return f"{flow}/{job}"


def suffix(epoch: str) -> str:
    """Return the suffix of checkpoint names that ties checkpoints outside the database to one database id.

    Such checkpoints may outlive their database. Without the suffix, a new database would miss the rows of those steps.
    """
    return f"@{epoch[:8]}" if checkpoints.OUTSIDE and epoch else ""


def checkpoint(job: str, epoch: str) -> Checkpoint:
    """Return the checkpoint of a job, by its full name, for one database id."""
    return Checkpoint(f"{job}{suffix(epoch)}")
