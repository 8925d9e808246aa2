"""Backfills: load a past period of a source again, window by window. The high-water mark does not move."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from prefect.runtime import flow_run
from pydantic import BaseModel, BeforeValidator, field_validator, model_validator

from .errors import InputError

UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes"}
DAY = timedelta(days=1)
LIMIT = 10_000
"""The maximum number of windows in a backfill: each is a task."""


@dataclass(frozen=True)
class Window:
    """A time window of a backfill, as a chunk: the changes from one timestamp on, and before another."""

    since: datetime
    """In UTC; inclusive."""
    until: datetime
    """In UTC; exclusive."""
    label: str = field(compare=False)
    """The start, in the time zone of the backfill."""

    @property
    def key(self) -> str:
        """Both ends, without the content: a finished window is loaded again only after `make reset`."""
        return f"{self.since.isoformat()}/{self.until.isoformat()}"

    @property
    def path(self) -> str:
        """The origin of its rejected records, in the place of a file."""
        return self.key

    @property
    def load(self) -> str:
        """The id of the flow run: a resumed run does not fetch again the pages that it has fetched."""
        return flow_run.id or self.key


def _duration(value: Any) -> Any:
    # Prefect stores the parameter of a flow run as ISO 8601.
    if not isinstance(value, str) or value.startswith("P"):
        return value
    match = re.fullmatch(r"([1-9][0-9]*)([wdhm])", value)
    if not match:
        raise ValueError(f"{value!r} is no length of a window; give one such as 1w, 1d, 6h or 30m")
    return timedelta(**{UNITS[match[2]]: int(match[1])})


def _clock(value: Any) -> Any:
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError(f"{value!r} is no date; give one such as 2026-01-31 or 2026-01-31T10:00") from None


class Backfill(BaseModel):
    """A flow parameter: the period to load again.

    Example:
        @durable_flow(name="load-orders")
        def load_orders(backfill: Backfill | None = None) -> RunReport:
            if backfill:
                return run_chunks(load_page, backfill.windows(), job="orders-backfill")
            ...
    """

    since: Annotated[datetime, BeforeValidator(_clock)]
    """The start, inclusive: a date, or a date and time in the zone, such as 2026-01-31 or 2026-01-31T10:00."""
    until: Annotated[datetime, BeforeValidator(_clock)]
    """The end, exclusive, in the same form."""
    window: Annotated[timedelta, BeforeValidator(_duration)] = DAY
    """The length of a window: 1w, 1d, 6h or 30m."""
    zone: str = "UTC"
    """The time zone of both ends, such as Europe/Berlin. Days have 23 or 25 hours there when summer time changes."""

    @field_validator("since", "until")
    @classmethod
    def _on_the_clock(cls, value: datetime) -> datetime:
        if value.tzinfo is not None:
            raise ValueError("give it without an offset, and the time zone as the zone")
        return value

    @field_validator("zone")
    @classmethod
    def _is_known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, OSError, ValueError):
            raise ValueError(f"{value!r} is no time zone; one is Europe/Berlin") from None
        return value

    @model_validator(mode="after")
    def _fits(self) -> "Backfill":
        if self.since >= self.until:
            raise ValueError("since must be before until")
        if self.window < timedelta(minutes=1) or (self.until - self.since) / self.window > LIMIT:
            raise ValueError(f"these are more than {LIMIT} windows; use longer ones, or several backfills")
        return self

    def windows(self) -> Iterator[Window]:
        """Yield the windows, oldest first; each begins where the one before ends.

        Windows of whole days begin at the same local time, also when daylight saving time changes.

        Raises:
            InputError: the backfill ends in the future: changes that come later would count as loaded.
        """
        end = self._utc(self.until)
        if end > datetime.now(UTC):
            raise InputError(f"the backfill ends in the future, at {end.isoformat()}; let it end before now")
        start = self._utc(self.since)
        number = 0
        while start < end:
            number += 1
            by_the_clock = self.window % DAY == timedelta(0)
            following = self._utc(self.since + number * self.window) if by_the_clock else start + self.window
            label = f"{start.astimezone(ZoneInfo(self.zone)):%Y-%m-%d %H:%M}".removesuffix(" 00:00")
            yield Window(start, min(following, end), label)
            start = following

    def _utc(self, value: datetime) -> datetime:
        return value.replace(tzinfo=ZoneInfo(self.zone)).astimezone(UTC)
