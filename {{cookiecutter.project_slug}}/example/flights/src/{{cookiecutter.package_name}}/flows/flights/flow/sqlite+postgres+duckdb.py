"""Load a file of flights into a table, one day a chunk."""

from pathlib import Path

from pydantic import PositiveInt

from ...durable import Counts, RunReport, Step, bounded, durable_flow, durable_task, run_chunks, upsert
from .settings import settings
from .source import Chunk, Flight, check, opened
from .tables import flights

FLIGHT = bounded(Flight, flights)


@durable_task(version="1")
def load_day(chunk: Chunk, step: Step) -> Counts | None:
    """Write the flights of a chunk: compute first, then one short step.

    Returns:
        The counts of its records, or None where another process has loaded the chunk meanwhile.
    """
    rows, rejects = check(chunk, FLIGHT)
    step.set_aside(rejects)
    with step as connection:
        if connection is None:
            return None
        written = upsert(connection, flights, rows)
    return {"read": len(rows) + len(rejects), "rejected": len(rejects), **written.counts()}


@durable_flow(name="load-flights")
def load_flights(
    source: Path | None = None, job: str | None = None, chunk_days: PositiveInt | None = None
) -> RunReport:
    """Load a file of flights. Run it again after a crash: finished chunks are skipped.

    Args:
        source: CSV in UTF-8, plain or gzip; the setting `source` by default.
        job: The name of this work; the file's name without its endings by default.
        chunk_days: Days of flights in a chunk; the setting `chunk_days` by default.
    """
    path = source or settings.source
    with opened(path, chunk_days or settings.chunk_days) as chunks:
        return run_chunks(load_day, chunks, job=job or path.name.split(".")[0])
