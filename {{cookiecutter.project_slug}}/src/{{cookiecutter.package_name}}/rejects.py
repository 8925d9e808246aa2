"""Bad records, set aside with their reasons: they neither stop a run nor vanish.

Each chunk writes its own file before its step counts as done; the run puts them together in one file a job.
"""

import csv
import os
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4
{%- if cookiecutter.deployment == "kubernetes" %}

from prefect.artifacts import create_table_artifact
{%- endif %}

from .flights import Chunk, Reject
from .settings import settings

{%- if cookiecutter.deployment == "kubernetes" %}

SHOWN = 1000
"""Bad records of a chunk that Prefect's server keeps."""
{%- endif %}


def _part(job: str, chunk: Chunk) -> Path:
    return settings.home / "rejects" / "parts" / job / f"{chunk.key}.csv"


def set_aside(job: str, chunk: Chunk, rejects: list[Reject]) -> None:
    """Keep the bad records of a chunk. Idempotent."""
    if rejects:
        _write(_part(job, chunk), Reject._fields, rejects)
{%- if cookiecutter.deployment == "kubernetes" %}
        _show(job, chunk, rejects)
{%- endif %}


def collect_rejects(job: str, chunks: Iterable[Chunk]) -> tuple[int, Path | None]:
    """Write `<home>/rejects/<job>.csv` with the bad records of these chunks: line in the file, reason, record.

    Returns:
        The number of records, and the file; no file where there are none.
    """
    target = settings.home / "rejects" / f"{job}.csv"
    found = []
    for chunk in chunks:
        part = _part(job, chunk)
        if part.exists():
            with part.open(newline="", encoding="utf-8") as file:
                found += [(chunk.line(int(row["place"])), row["reason"], row["record"]) for row in csv.DictReader(file)]
    if not found:
        target.unlink(missing_ok=True)
        return 0, None
    _write(target, ("line", "reason", "record"), sorted(found))
    return len(found), target


{% if cookiecutter.deployment == "kubernetes" -%}
def _show(job: str, chunk: Chunk, rejects: list[Reject]) -> None:
    """Keep the bad records on Prefect's server too: the file is lost with the pod's disk."""
    first = rejects[:SHOWN]
    rows = [{"line": chunk.line(place), "reason": reason, "record": record} for place, reason, record in first]
    more = f", of which these are the first {SHOWN}" if len(rejects) > SHOWN else ""
    create_table_artifact(rows, key="rejects", description=f"{job}, {chunk.label}: {len(rejects)} bad records{more}")


{% endif -%}
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
