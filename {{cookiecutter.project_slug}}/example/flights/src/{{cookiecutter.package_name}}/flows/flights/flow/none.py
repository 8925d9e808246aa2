"""Summarize a file of flights, one day a chunk. The summaries are stored results."""

from pathlib import Path

from pydantic import PositiveInt

from ...durable import Counts, RunReport, Step, durable_flow, durable_task, run_chunks
from .settings import settings
from .source import Chunk, check, opened


@durable_task(version="1")
def count_day(chunk: Chunk, step: Step) -> Counts:
    """Count the flights of a chunk.

    Returns:
        The counts of its records. They are all that comes of the chunk, so it is done when they are stored.
    """
    rows, rejects = check(chunk)
    step.set_aside(rejects)
    return {
        "read": len(rows) + len(rejects),
        "rejected": len(rejects),
        "flights": len(rows),
        "cancelled": sum(row["dep_time"] is None for row in rows),
    }


@durable_flow(name="load-flights")
def load_flights(
    source: Path | None = None, job: str | None = None, chunk_days: PositiveInt | None = None
) -> RunReport:
    """Count the flights of a file. Run it again after a crash: finished chunks are skipped.

    Args:
        source: CSV in UTF-8, plain or gzip; the setting `source` by default.
        job: The name of this work; the file's name without its endings by default.
        chunk_days: Days of flights in a chunk; the setting `chunk_days` by default.
    """
    path = source or settings.source
    with opened(path, chunk_days or settings.chunk_days) as chunks:
        return run_chunks(count_day, chunks, job=job or path.name.split(".")[0])
