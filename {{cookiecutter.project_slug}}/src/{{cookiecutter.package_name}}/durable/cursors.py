"""Cursors for incremental loads: each load asks the source only for changes since the high-water mark.

The mark moves when all chunks of a load are done, so it never passes a record that is not loaded. With checkpoints in
the database, it moves in the transaction of the last chunk. A killed load resumes from where it began and keeps its
name, so that pages it has fetched are found again.
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
"""A position in a source: a timestamp with its time zone, or a number that only grows."""
RESUMABLE = timedelta(hours=6)
"""The age up to which a killed load resumes. An older one starts again: its pages are old, and tokens expire."""


@dataclass(frozen=True)
class Cursor:
    """A load of a source: where it starts, and its name.

    Example:
        cursor = Cursor.read("orders", overlap=timedelta(minutes=5))
        return run_chunks(load_page, pages(cursor), job="orders", cursor=cursor)
    """

    name: str
    """The full name of the source, with its flow, under which the mark is stored."""
    since: Value | None
    """Ask the source for records with this value and above, or for all records if it is None."""
    load: str
    """The name of this load. A task that takes it as an input does not run again when the load resumes."""
    mark: Value | None
    """The high-water mark when the load began."""
    began: datetime
    """When the load began."""

    @classmethod
    def read(cls, source: str, *, overlap: timedelta = timedelta(0)) -> "Cursor":
        """Return the next load of a source, or the killed load to resume.

        Args:
            source: the name of the source and of its job: up to 100 letters, digits, `.`, `_` and `-`.
            overlap: how far before the mark to read again, for records that arrive late. Timestamps only.

        Raises:
            TypeError: `overlap` is given, and the mark is a number.
            ValueError: `source` is not a valid job name.
            RuntimeError: the caller is not a flow of `durable_flow`.
        """
        flow = FLOW.get(None)
        if flow is None:
            raise RuntimeError("Cursor.read works in a flow that is made with @durable_flow")
        full = full_name(flow, source)
        if LOOKING.get():
            # Only the source knows whether it has more.
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
        """Compute the high-water mark after these chunks; None if neither they nor the cursor have a value.

        A timestamp never exceeds the time when the load began. So a timestamp in the future hides no later record, and
        records that arrive while a killed load waits to resume are read again.

        Args:
            chunks: all chunks of the load, each with its `highest`.

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
        """Move the mark after all chunks of the load are done. The next load gets another name. Idempotent.

        The mark does not move if it was reset meanwhile, or is now below the mark with which this load began.

        Args:
            highest: the new mark, from `highest`.
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
        """Make the next run start again from the mark, and fetch again what this load has fetched."""
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
