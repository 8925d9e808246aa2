"""Rejected records: stored with their reasons, while the run goes on.

Each chunk writes its own file before its step counts as done; the run collects them in one file per job.
"""

import csv
import hashlib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from filelock import FileLock
from pydantic import ValidationError

from .settings import settings

# For the whole process: quoted fields may be as long as others, and version 0.1 wrote records of any length.
csv.field_size_limit(2**31 - 1)

SHOWN = 1000
"""The maximum number of a chunk's rejected records on Prefect's server, for deployments whose disk does not last."""
LONGEST = 2000
"""The maximum characters stored of a record, and of a reason: programs that read CSV refuse very long fields."""
COLUMNS = ("file", "chunk", "line", "reason", "record")
"""The columns of the file that `collect` writes."""


class Reject(NamedTuple):
    """A rejected record."""

    place: int
    """The record's position in its chunk. A chunk with a method `line` maps it to a line of the source."""
    reason: str
    record: str

    @classmethod
    def of(cls, place: int, record: object, error: ValueError) -> "Reject":
        """Return a rejected record; the reason is an error of pydantic or of another check."""
        reason = str(error)
        if isinstance(error, ValidationError):
            reason = "; ".join(map(_fault, error.errors()))
        return cls(place, reason, str(record))


def _fault(fault: Mapping[str, Any]) -> str:
    said = fault["msg"].removeprefix("Value error, ")
    if not fault["loc"]:
        return str(said)  # of a check of the whole record
    value = repr(fault["input"]) if isinstance(fault["input"], str) else fault["input"]
    found = "" if fault["type"] == "missing" else f" (found {value})"
    return f"{'.'.join(map(str, fault['loc']))}: {said}{found}"


def set_aside(job: str, key: str, label: str, rejects: Sequence[Reject]) -> None:
    """Store the rejected records of a chunk. Idempotent.

    Args:
        job: the full name of the job.
        key: the chunk's key.
        label: the chunk's name for people.
        rejects: all rejected records of the chunk.
    """
    if not rejects:
        return
    # What imports Prefect is slow.
    from . import deployments

    _write(_part(job, key), Reject._fields, rejects)
    if not deployments.DISK_LASTS:
        from prefect.artifacts import create_table_artifact

        shown = rejects[:SHOWN]
        rows = [{"place": place, "reason": _short(reason), "record": _short(text)} for place, reason, text in shown]
        more = f", of which these are the first {SHOWN}" if len(rejects) > SHOWN else ""
        create_table_artifact(
            rows,
            key=f"{job.partition('/')[0]}-rejects",
            description=f"{job}, {label}: {len(rejects)} rejected records{more}",
        )


def _file(chunk: Any) -> str:
    """Return the origin of a chunk; a file has one name, whatever path leads to it."""
    path = getattr(chunk, "path", "")
    return str(path.resolve() if isinstance(path, Path) else path)


def collect(job: str, chunks: Collection[Any]) -> tuple[int, Path | None]:
    """Collect the rejected records of these chunks in `<home>/rejects/<flow>/<job>.csv`.

    Records of other source files stay in it: a job may load several sources, one after the other.

    Args:
        job: the full name of the job.
        chunks: the chunks of the source, each with a `key` and a `label`; a `path` names the chunk's file.

    Returns:
        The number of records of these chunks, and the file; None instead of the file if there are no records.
    """
    target = settings.home / "rejects" / f"{job}.csv"
    files = {_file(chunk) for chunk in chunks}
    found = []
    for chunk in chunks:
        line = getattr(chunk, "line", lambda place: place)
        file = _file(chunk)
        for row in _read(_part(job, chunk.key)):
            found.append((file, chunk.label, line(int(row["place"])), row["reason"], row["record"]))
    if not found and not target.exists():
        return 0, None
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):
        # Files of version 0.1 have no column `file`.
        kept = [row for row in _read(target) if row.get("file", "") not in {*files, ""}]
        others = [(row["file"], row["chunk"], int(row["line"]), row["reason"], row["record"]) for row in kept]
        if found or others:
            _write(target, COLUMNS, sorted(found + others))
        else:
            target.unlink(missing_ok=True)
    return len(found), target if found else None


def count(job: str, key: str, report: Mapping[str, int]) -> None:
    """Store how many records a chunk has, and how many of them were rejected, if its task reports them.

    Args:
        job: the full name of the job.
        key: the chunk's key.
        report: the counts of the chunk; `read` and `rejected` are used.
    """
    if report.get("read"):
        path = _counts(job)
        path.parent.mkdir(parents=True, exist_ok=True)
        # One write per line, so that processes of one job do not interleave.
        with path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow((key, report["read"], report.get("rejected", 0)))


def counted(job: str, keys: Iterable[str]) -> tuple[int, int]:
    """Return how many records these chunks have, and how many of them were rejected, over all runs."""
    known = {}
    path = _counts(job)
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            # A crash may have left an incomplete line.
            known = {row[0]: (int(row[1]), int(row[2])) for row in csv.reader(file) if len(row) == 3 and row[2]}
    counts = [known[key] for key in keys if key in known]
    return sum(read for read, _ in counts), sum(rejected for _, rejected in counts)


def adopt(old: str, job: str) -> None:
    """Move the rejected records of a job from its old name, unless the new name has some."""
    before, now = (settings.home / "rejects" / "parts" / name for name in (old, job))
    if before.is_dir() and not now.exists():
        now.parent.mkdir(parents=True, exist_ok=True)
        before.rename(now)


def _counts(job: str) -> Path:
    return settings.home / "counts" / f"{job}.csv"


def _part(job: str, key: str) -> Path:
    safe = re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._@-]{0,99}", key)
    name = key if safe else hashlib.sha256(key.encode()).hexdigest()
    return settings.home / "rejects" / "parts" / job / f"{name}.csv"


def _read(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a file of rejected records, if it exists."""
    if not path.exists():
        return
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def _write(path: Path, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a CSV file completely or not at all: a crash leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{uuid4().hex}.part")
    with part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([*map(_short, row)] for row in rows)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _short(value: object) -> str:
    text = str(value)
    # The note counts towards LONGEST, so that shortened text is not shortened again when it is rewritten.
    shown = text if len(text) <= LONGEST else f"{text[: LONGEST - 30]}… ({len(text)} characters)"
    # Databases and spreadsheets do not accept zero bytes.
    return shown.replace("\0", "␀")
