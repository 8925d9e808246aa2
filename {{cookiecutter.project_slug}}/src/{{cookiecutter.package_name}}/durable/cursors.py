"""Cursors: up to where a source is loaded, so that the next load asks only for what has changed since.

The high-water mark moves when all chunks of a load are done, so it never passes a record that is not loaded. Where
checkpoints are in the database, it moves in the transaction of the last chunk. A load that was killed goes on from its
own beginning: with the same name, by which the pages that it has fetched are found.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from . import high_water, upserts
from .context import FLOW, LOOKING, ChunksLeftError
from .errors import InputError
from .names import Mark, next_load
from .steps import full_name, suffix
from .upserts import Connection

Value = datetime | int
"""What a source is loaded by: a timestamp with its time zone, or a number that only grows."""
RESUMABLE = timedelta(hours=6)
"""A load that began longer ago begins anew: its pages are old, and tokens expire."""


@dataclass(frozen=True)
class Cursor:
    """A load of a source: from where, and by which name.

    Example:
        cursor = Cursor.read("orders", overlap=timedelta(minutes=5))
        return run_chunks(load_page, pages(cursor), job="orders", cursor=cursor)
    """

    name: str
    """The flow and its source, as the mark is kept."""
    since: Value | None
    """What to ask the source for: records of this value and above, or all where it is None."""
    load: str
    """The name of this load. A task that takes it as an input is not run again when the load is resumed."""
    mark: Value | None
    """The high-water mark when the load began."""
    began: datetime
    """When the load began."""

    @classmethod
    def read(cls, source: str, *, overlap: timedelta = timedelta(0)) -> "Cursor":
        """Return the next load of a source, or the one that was killed.

        Args:
            source: its name, which its job has too: up to 100 letters, digits, `.`, `_` and `-`.
            overlap: how far before the mark to read again, for records that arrive late. Timestamps only.

        Raises:
            TypeError: there is an overlap, and the mark is a number.
            ValueError: `source` is no name of a job.
            RuntimeError: no flow of `durable_flow` runs here.
        """
        flow = FLOW.get(None)
        if flow is None:
            raise RuntimeError("Cursor.read works in a flow that is made with @durable_flow")
        full = full_name(flow, source)
        if LOOKING.get():
            # Only the source itself knows whether it has more.
            raise ChunksLeftError
        name = f"{full}{suffix(upserts.epoch())}"
        now = datetime.now(UTC)
        high_water.read(name)
        high_water.change(name, lambda mark: None if _goes_on(mark, now) else next_load(mark.value, now.isoformat()))
        found = high_water.read(name)
        mark = _value(found.value)
        if overlap and isinstance(mark, int):
            raise TypeError(f"{name}: an overlap is a time, and this source is loaded by numbers; leave it out")
        since = mark - overlap if isinstance(mark, datetime) else mark
        return cls(name, since, found.load, mark, datetime.fromisoformat(found.began) if found.began else now)

    def highest(self, chunks: Iterable[Any]) -> Value | None:
        """Return up to where the source is loaded when these chunks are done; None where they have no records.

        It is not after the load began: a timestamp in the future hides nothing then, and what arrives late while a load
        that was killed waits to go on is read again.

        Args:
            chunks: all of the load, each with its `highest`.

        Raises:
            InputError: the values are of another kind than the mark, or a timestamp has no time zone.
            TypeError: a chunk has no `highest`.
        """
        found: list[Any] = []
        for chunk in chunks:
            if not hasattr(chunk, "highest"):
                raise TypeError(f"{type(chunk).__name__} has no `highest`, by which the cursor moves; None is fine")
            found += [] if chunk.highest is None else [chunk.highest]
        for value in found:
            if not isinstance(value, datetime | int) or (isinstance(value, datetime) and value.tzinfo is None):
                raise InputError(f"{self.name}: a cursor takes timestamps with a time zone, or integers; not {value!r}")
            if isinstance(value, int) != isinstance(found[0] if self.mark is None else self.mark, int):
                raise InputError(
                    f"{self.name}: timestamps and numbers cannot be compared; after a change of the source, forget its"
                    f" mark: make reset JOB={self.name.partition('@')[0]}"
                )
        found += [] if self.mark is None else [self.mark]
        top: Value | None = max(found, default=None)
        return min(top, max(self.began, self.mark or self.began)) if isinstance(top, datetime) else top

    def close(self, highest: Value | None, connection: Connection | None = None) -> None:
        """Move the mark, for all chunks of the load are done. The next load has another name. Idempotent.

        The mark stays where it was forgotten meanwhile, or has come to lie before the beginning of this load.

        Args:
            highest: up to where the source is loaded.
            connection: in a transaction, which the change becomes part of.
        """

        def moved(now: Mark) -> Mark | None:
            value = _value(now.value)
            if now.load != self.load and (value is None or (self.mark is not None and _before(value, self.mark))):
                return None
            if highest is not None and (value is None or _before(value, highest)):
                return next_load(_text(highest))
            return next_load(now.value) if now.load == self.load else None

        high_water.change(self.name, moved, connection)

    def restart(self) -> None:
        """Have the next run begin anew from the mark: it fetches again what this load has fetched."""
        high_water.change(self.name, lambda now: next_load(now.value) if now.load == self.load else None)


def _goes_on(mark: Mark, now: datetime) -> bool:
    return mark.began is not None and now - datetime.fromisoformat(mark.began) < RESUMABLE


def _before(value: Any, other: Any) -> bool:
    return bool(value < other)


def _text(value: Value) -> str:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)


def _value(text: str | None) -> Value | None:
    if text is None:
        return None
    return int(text) if text.lstrip("-").isdecimal() else datetime.fromisoformat(text)
