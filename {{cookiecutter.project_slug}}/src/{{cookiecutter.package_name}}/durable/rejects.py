"""Rejected records, set aside with their reasons: they neither stop a run nor vanish.

Each chunk writes a file of its own before its step counts as done; the run collects them in one file a job.
"""

import csv
import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from prefect.artifacts import create_table_artifact

from . import deployments
from .settings import settings

SHOWN = 1000
"""Rejected records of a chunk that Prefect's server keeps where the disk does not last."""


class Reject(NamedTuple):
    """A record that was set aside."""

    place: int
    """Where it is in its chunk. A chunk that has a method `line` tells by it which line of the source that is."""
    reason: str
    record: str


def set_aside(job: str, key: str, label: str, rejects: Sequence[Reject]) -> None:
    """Keep the rejected records of a chunk. Idempotent.

    Args:
        job: the full name of the job.
        key: of the chunk.
        label: of the chunk, for people.
        rejects: all of the chunk.
    """
    if not rejects:
        return
    _write(_part(job, key), Reject._fields, rejects)
    if not deployments.DISK_LASTS:
        rows = [reject._asdict() for reject in rejects[:SHOWN]]
        more = f", of which these are the first {SHOWN}" if len(rejects) > SHOWN else ""
        create_table_artifact(
            rows,
            key=f"{job.partition('/')[0]}-rejects",
            description=f"{job}, {label}: {len(rejects)} rejected records{more}",
        )


def collect(job: str, chunks: Iterable[Any]) -> tuple[int, Path | None]:
    """Write `<home>/rejects/<flow>/<job>.csv` with the rejected records of these chunks.

    Args:
        job: the full name of the job.
        chunks: of the source, each with a `key` and a `label`.

    Returns:
        The number of records, and the file; no file where there are none.
    """
    target = settings.home / "rejects" / f"{job}.csv"
    found = []
    for chunk in chunks:
        part = _part(job, chunk.key)
        if part.exists():
            line = getattr(chunk, "line", lambda place: place)
            with part.open(newline="", encoding="utf-8") as file:
                rows = csv.DictReader(file)
                found += [(chunk.label, line(int(row["place"])), row["reason"], row["record"]) for row in rows]
    if not found:
        target.unlink(missing_ok=True)
        return 0, None
    _write(target, ("chunk", "line", "reason", "record"), sorted(found))
    return len(found), target


def adopt(old: str, job: str) -> None:
    """Take over what was set aside for a job under another name, unless the job has some of its own."""
    before, now = (settings.home / "rejects" / "parts" / name for name in (old, job))
    if before.is_dir() and not now.exists():
        now.parent.mkdir(parents=True, exist_ok=True)
        before.rename(now)


def _part(job: str, key: str) -> Path:
    safe = re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._@-]{0,99}", key)
    name = key if safe else hashlib.sha256(key.encode()).hexdigest()
    return settings.home / "rejects" / "parts" / job / f"{name}.csv"


def _write(path: Path, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a CSV file whole or not at all: a crash leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{uuid4().hex}.part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
