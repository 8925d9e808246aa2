"""The step of a chunk: its writes, and the checkpoint that they are done.

The text of a task does not depend on how the project remembers what is done. With checkpoints in the database, writes
and checkpoint are one transaction: exactly once in that database. With others the checkpoint follows the writes: at
least once, which an upsert makes harmless.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from . import checkpoints, outbox, rejects, upserts
from .checkpoints import Checkpoint
from .effects import JSON
from .errors import InputError
from .rejects import Reject
from .upserts import Connection

__all__ = ["Step", "checkpoint", "full_name", "suffix"]


@dataclass
class Step:
    """The step of a chunk, which `run_chunks` gives to its task: a context manager around the writes.

    `with step as connection` yields a connection in a transaction, to write with; the transaction commits when the
    block ends, and rolls back when it raises. It yields None where another process has done the chunk meanwhile: then
    return without writing. Compute first and open the step for the writes alone: other writers wait until it ends.

    Example:
        with step as connection:
            if connection is None:
                return None
            written = upsert(connection, orders, rows)
    """

    job: str
    """The flow and its job, `load-orders/orders`."""
    key: str
    """Of the chunk."""
    epoch: str
    """Which filling of the database: a result that was stored for one that is gone does not count for this one."""
    label: str = field(compare=False)
    """Of the chunk, for people."""
    finish: Callable[[Connection], None] | None = field(default=None, repr=False, compare=False)
    """What the step does at the end of its transaction, unless records of the chunk were rejected."""
    _rejected: int = field(default=0, init=False, repr=False, compare=False)
    _open: AbstractContextManager[Connection | None] | None = field(default=None, init=False, repr=False, compare=False)
    _effects: list[dict[str, Any]] = field(default_factory=list, init=False, repr=False, compare=False)

    def __enter__(self) -> Connection | None:
        self._open = opened = self._transaction()
        return opened.__enter__()

    @contextmanager
    def _transaction(self) -> Iterator[Connection | None]:
        # Without a database the stored result is all that comes of a chunk: the run writes the checkpoint after it.
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
        opened, self._open = self._open, None
        if opened is not None:
            opened.__exit__(kind, error, traceback)

    def send(self, url: str, item: str, payload: JSON, *, ordering_key: str | None = None) -> str:
        """Have a request sent after the step has committed: a POST of JSON, written to the outbox in its transaction.

        The run delivers it after its chunks, with the header `Idempotency-Key`, until the receiver acknowledges it:
        exactly once if the receiver honours the key, at least once otherwise. A step that is repeated sends nothing
        twice. Give headers such as Authorization with `delivery_headers`: the outbox stores none.

        Args:
            url: of the receiver, up to 2000 characters, without a password.
            item: what the effect is about, up to 200 characters: two equal payloads of one job need two items.
            payload: plain JSON.
            ordering_key: effects of the job with the same one, such as a customer's, are delivered one by one, in the
                order of sending; chunks run several at a time. One that is refused holds those behind it. Up to 200
                characters.

        Returns:
            The idempotency key, 64 hex digits.

        Raises:
            ValueError: an argument cannot be kept as it is.
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

    def set_aside(self, bad: Sequence[Reject]) -> None:
        """Keep the rejected records of the chunk, with their reasons: they neither stop the run nor vanish. Idempotent.

        Args:
            bad: all of the chunk; an empty list is fine.
        """
        rejects.set_aside(self.job, self.key, self.label, bad)
        self._rejected = len(bad)


def full_name(flow: str, job: str) -> str:
    """Return the name under which a flow's job is remembered: two flows never share one.

    Raises:
        InputError: `job` is not 1 to 100 letters, digits, `.`, `_` and `-`, beginning with a letter or a digit.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", job):
        raise InputError(f"{job!r} cannot be the name of a job: use up to 100 letters, digits, `.`, `_` and `-`")
    return f"{flow}/{job}"


def suffix(epoch: str) -> str:
    """Return what the names of checkpoints end with that count for one filling of the database alone.

    Checkpoints that outlive their database would pass over rows of the next one; so the filling is part of their name.
    """
    return f"@{epoch[:8]}" if checkpoints.OUTSIDE and epoch else ""


def checkpoint(job: str, epoch: str) -> Checkpoint:
    """Return what is done of a job, by its full name, in one filling of the database."""
    return Checkpoint(f"{job}{suffix(epoch)}")
