"""A source that is loaded since the last time, for the tests of cursors: a file of records, read in pages by token.

A record is `[id, value, at]`. Pages are cut by `at` and `id`, so one may end in the middle of equal timestamps.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from {{ cookiecutter.package_name }}.durable import Cursor, Reject, discovery, durable_task
from {{ cookiecutter.package_name }}.durable.settings import settings

from . import FLOWS

FLOW = "load-feed"
SIZE = 3
"""Records of a page."""
START = datetime(2026, 1, 1, tzinfo=UTC)
BAD = -1
"""The value of a record that is rejected."""
FAILING = -2
"""The value of a record whose page fails."""

at: Callable[[str], None] = lambda point: None  # noqa: E731
"""What is called at each point of a run where it can be killed."""

discovery.PACKAGES += [flow for flow in FLOWS if flow not in discovery.PACKAGES]


def minute(number: float) -> datetime:
    """So many minutes after the beginning of all records."""
    return START + timedelta(minutes=number)


def write(path: Path, *records: tuple[int, int, float]) -> Path:
    """Write a source of records: id, value, and minutes."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps([[number, value, minute(when).isoformat()] for number, value, when in records]))
    new.replace(path)
    return path


def expected(path: Path) -> dict[int, int]:
    """The value of each id in a source."""
    return {number: value for number, value, _ in json.loads(path.read_text())}


def fetches() -> int:
    """How many pages were fetched from a source in this home."""
    log = settings.home / "fetched"
    return len(log.read_text()) if log.exists() else 0


@dataclass(frozen=True)
class Page:
    """A page as a chunk, known by its load, number and content: where it is fetched again, it may be another one."""

    label: str
    load: str
    digest: str
    records: tuple[tuple[int, int, datetime], ...] = field(compare=False)

    @property
    def key(self) -> str:
        return f"{self.load}-{self.label}@{self.digest}"

    @property
    def highest(self) -> datetime | None:
        return max((when for *_, when in self.records), default=None)


@durable_task(version="1")
def fetch_page(source: str, since: str, token: list[Any], load: str) -> list[list[Any]]:
    """Fetch the records after a token, from `since` on."""
    with (settings.home / "fetched").open("a") as log:
        log.write("x")
    records = sorted(json.loads(Path(source).read_text()), key=lambda record: [record[2], record[0]])
    found = [record for record in records if record[2] >= since and [record[2], record[0]] > token]
    return found[:SIZE]


def pages(source: Path, cursor: Cursor) -> Iterator[Page]:
    """Read all pages that a source has from a cursor on."""
    since = cursor.since.isoformat() if isinstance(cursor.since, datetime) else ""
    token: list[Any] = []
    number = 0
    while True:
        found = fetch_page(str(source), since, token, cursor.load)
        at("fetched")
        number += 1
        records = tuple((id_, value, datetime.fromisoformat(when)) for id_, value, when in found)
        yield Page(f"page {number}", cursor.load, sha256(repr(records).encode()).hexdigest()[:16], records)
        if len(found) < SIZE:
            return
        token = [found[-1][2], found[-1][0]]


def check(page: Page) -> tuple[list[dict[str, object]], list[Reject]]:
    """Part the rows of a page from the rejected records."""
    if any(value == FAILING for _, value, _ in page.records):
        raise ValueError("bad luck")
    rows: list[dict[str, object]] = [
        {"id": id_, "value": value, "at": when} for id_, value, when in page.records if value != BAD
    ]
    bad = [(place, record) for place, record in enumerate(page.records) if record[1] == BAD]
    return rows, [Reject(place, "bad", str(record)) for place, record in bad]
