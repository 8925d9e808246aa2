"""The example flow, which joins the parts: a file of flights, chunk by chunk, {% if cookiecutter.upsert != "none" %}into a table{% else %}into stored summaries{% endif %}."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypedDict, get_type_hints

from prefect import flow, unmapped
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.futures import as_completed
from prefect.runtime import flow_run
from pydantic import PositiveInt

{% if cookiecutter.checkpoint != "none" -%}
from .checkpoints import Checkpoint
{% endif -%}
from .durable import FLOW_POLICIES, durable_task, stored
from .flights import Chunk, check, opened
from .notes import load_summary, load_table, resumed_note
from .progress import progress
from .rejects import collect_rejects, set_aside
from .results import storage
from .runners import final_state, {% if cookiecutter.task_runner != "threads" %}look_for_cluster, {% endif %}task_runner
from .runs import alive
from .settings import {% if cookiecutter.task_runner != "threads" %}PREFIX, {% endif %}settings
{%- if cookiecutter.upsert != "none" %}
from .tables import create, epoch, flights
from .upsert import database, upsert
{%- endif %}


class ChunkReport(TypedDict):
    """What became of the records of one chunk, as counts."""

    chunk: str
    read: int
    rejected: int
{%- if cookiecutter.upsert != "none" %}
    inserted: int
    updated: int
    unchanged: int
    repeated: int
    """Records whose key stands again further down in the chunk, where the last one wins."""
{%- else %}
    flights: int
    cancelled: int
{%- endif %}


COUNTS = tuple(name for name, kind in get_type_hints(ChunkReport).items() if kind is int)


class RunReport(TypedDict):
    """What a run found and did."""

    job: str
    chunks: int
    """Chunks of the source."""
    found: int
    """Those that were done before{% if cookiecutter.checkpoint != "none" %}, or by another process meanwhile{% endif %}."""
    done: int
    """Those that this run did."""
    totals: dict[str, int]
    """The sums of the reports of the chunks that this run did."""
    rejected: int
    """Records of the source that were set aside, by this run or before."""
    rejects_file: str | None


class ResultsNotStoredError(Exception):
    """All chunks are done, but the results of some could not be stored."""
{%- if cookiecutter.task_runner != "threads" %}


class RejectsElsewhereError(Exception):
    """All chunks are done, but bad records were set aside on disks of other machines."""
{%- endif %}


class ChunksFailedError(Exception):
    """Some chunks could not be done. The others are; a new run does the rest."""


@durable_task(version="1")
def load_chunk(chunk: Chunk, job: str{% if cookiecutter.upsert != "none" %}, epoch: str{% endif %}) -> ChunkReport{% if cookiecutter.checkpoint != "none" and cookiecutter.upsert != "none" %} | None{% endif %}:
    """{% if cookiecutter.upsert != "none" %}Write a chunk to the table{% else %}Count a chunk{% endif %}: compute first, {% if cookiecutter.checkpoint != "none" and cookiecutter.upsert != "none" %}then one short step{% elif cookiecutter.upsert != "none" %}then one short transaction{% else %}then leave the result to be stored{% endif %}.

    Args:
        chunk: as `flights.opened` found it.
        job: the name under which the work is known.
{%- if cookiecutter.upsert != "none" %}
        epoch: which filling of the database{% if cookiecutter.checkpoint in ["file", "storage"] %}, whose marks count{% else %}; not used here{% endif %}, {% if cookiecutter.checkpoint in ["file", "storage"] %}and{% else %}but{% endif %} part of the key of the stored result.
{%- endif %}
{%- if cookiecutter.checkpoint != "none" and cookiecutter.upsert != "none" %}

    Returns:
        The counts, or None where another process has done the chunk meanwhile.
{%- endif %}
    """
    rows, rejects = check(chunk)
    set_aside(job, chunk, rejects)
{%- if cookiecutter.checkpoint == "database" %}
    with checkpoint(job, epoch).step(chunk.key) as connection:
        if connection is None:
            return None
        written = upsert(connection, flights, rows)
{%- elif cookiecutter.checkpoint != "none" and cookiecutter.upsert != "none" %}
    with checkpoint(job, epoch).step(chunk.key) as todo:
        if not todo:
            return None
        with database().begin() as connection:
            written = upsert(connection, flights, rows)
{%- elif cookiecutter.upsert != "none" %}
    with database().begin() as connection:
        written = upsert(connection, flights, rows)
{%- endif %}
    return ChunkReport(
        chunk=chunk.label,
        read=len(rows) + len(rejects),
        rejected=len(rejects),
{%- if cookiecutter.upsert != "none" %}
        inserted=written.inserted,
        updated=written.updated,
        unchanged=written.unchanged,
        repeated=len(rows) - written.inserted - written.updated - written.unchanged,
{%- else %}
        flights=len(rows),
        cancelled=sum(row["dep_time"] is None for row in rows),
{%- endif %}
    )


@flow(name="{{ cookiecutter.project_slug }}", task_runner=task_runner(), **FLOW_POLICIES)
def load_flights(
    source: Path | None = None, job: str | None = None, chunk_days: PositiveInt | None = None
) -> RunReport:
    """Load a file of flights{% if cookiecutter.cache_key != "none" or cookiecutter.checkpoint != "none" %}. Run it again after anything: what is done stays done{% endif %}.

    Args:
        source: CSV, plain or gzip; the setting `source` unless given.
        job: the name of this work, of letters, digits, `.`, `_` and `-`; the file's name without its endings unless
            given.{% if cookiecutter.cache_key != "none" or cookiecutter.checkpoint != "none" %} What is done is known by job and content, so a corrected file has only its corrected days loaded.{% endif %}
        chunk_days: days in a chunk; the setting `chunk_days` unless given.

    Raises:
        SourceError: the source cannot be used; nothing was written.
        ValueError: `job` is not a name.
        ChunksFailedError: some chunks failed; the others are done.
        ResultsNotStoredError: all chunks are done, and the store of results failed meanwhile.
{%- if cookiecutter.task_runner != "threads" %}
        ConnectionError, ValueError: the cluster is none, or cannot reach what is here; nothing was written.
        RejectsElsewhereError: all chunks are done, and files of bad records are on other machines.
{%- endif %}
        StoreError: there is no store of results; nothing was written.
    """
{%- if cookiecutter.task_runner != "threads" %}
    # Deployed runs pass here only.{% if cookiecutter.task_runner == "ray" %} Ray is connected by now, and has no task yet.{% endif %}
    look_for_cluster()
{%- endif %}
    source = source or settings.source
    job = job_name(source, job)
    with (
        alive(flow_run.id),
        opened(source, chunk_days or settings.chunk_days) as chunks,
    ):
        return _load(job, chunks)


def job_name(source: Path, job: str | None = None) -> str:
    """Return the job's name, which the source's name stands in for.

    Raises:
        ValueError: it is not one.
    """
    name = job or source.name.split(".")[0]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise ValueError(f"{name!r} cannot be a job's name, of up to 100 letters, digits, `.-_`; give one with --job")
    return name


{% if cookiecutter.checkpoint != "none" -%}
def checkpoint(job: str{% if cookiecutter.upsert != "none" %}, epoch: str{% endif %}) -> Checkpoint:
{%- if cookiecutter.checkpoint == "database" %}
    """Return what is done of a job.

    Args:
        job: its name.
        epoch: which filling of the database; not used here, for the marks are in that database.
    """
    return Checkpoint(job)
{%- elif cookiecutter.upsert != "none" %}
    """Return what is done of a job in one filling of the database: marks of one that is gone would pass over its rows.

    Args:
        job: its name.
        epoch: which filling it is; see `tables.epoch`.
    """
    return Checkpoint(f"{job}@{epoch[:8]}")
{%- else %}
    """Return what is done of a job, by its name."""
    return Checkpoint(job)
{%- endif %}


{% endif -%}
def _load(job: str, chunks: list[Chunk]) -> RunReport:
{%- if cookiecutter.upsert != "none" %}
    create(database())
    filling = epoch(database())
{%- endif %}
{%- if cookiecutter.checkpoint != "none" %}
    marks = checkpoint(job{% if cookiecutter.upsert != "none" %}, filling{% endif %})
    remaining = set(marks.remaining(chunk.key for chunk in chunks))
    todo = [chunk for chunk in chunks if chunk.key in remaining]
{%- else %}
    todo = chunks
{%- endif %}
    reports: dict[str, ChunkReport] = {}
    failures: dict[str, str] = {}
    lost = 0
    with progress(job, len(chunks), len(chunks) - len(todo)) as advance:
{%- if cookiecutter.checkpoint != "none" and cookiecutter.upsert != "none" %}
        # What the checkpoint does not have is not done, whatever results are stored{% if cookiecutter.checkpoint == "database" %}: the database may be an older copy{% else %}: it may have been reset{% endif %}.
        work = load_chunk.with_options(result_storage=storage(), refresh_cache=True)
{%- else %}
        work = load_chunk.with_options(result_storage=storage())
{%- endif %}
        futures = work.map(todo, job=unmapped(job){% if cookiecutter.upsert != "none" %}, epoch=unmapped(filling){% endif %})
        chunk_of = dict(zip(futures, todo, strict=True))
        for future in as_completed(futures):
            chunk = chunk_of[future]
            state = final_state(future)
            report: Any = state.result(raise_on_failure=False)
            if state.is_failed() or state.is_crashed():
                failures[chunk.label] = str(report)
            else:
{%- if cookiecutter.checkpoint != "none" and cookiecutter.upsert == "none" %}
                # The result is all that comes of a chunk, so the chunk is done when that is stored.
                if stored(state):
                    with marks.step(chunk.key):
                        pass
                else:
                    lost += 1
{%- else %}
                lost += not stored(state)
{%- endif %}
                if {% if cookiecutter.checkpoint != "none" and cookiecutter.upsert != "none" %}report is not None{% else %}report and state.name != "Cached"{% endif %}:
                    reports[chunk.label] = report
            advance()
    run_report = _run_report(job, chunks, reports.values(), len(failures))
    totals = run_report["totals"]
    create_table_artifact(
        load_table((chunk.label for chunk in chunks), reports, failures, totals),
        key="load",
        description=load_summary(run_report, len(failures)),
    )
    if note := resumed_note(run_report, len(failures), flow_run.run_count):
        create_markdown_artifact(note, key="resumed", description=f"{job}: what this run found done")
    if failures:
        raise ChunksFailedError(
            f"{len(failures)} of {len(chunks)} chunks failed, the first with: {next(iter(failures.values()))}."
            " The others are done; {% if cookiecutter.checkpoint != "none" or cookiecutter.cache_key != "none" %}run again for the rest{% else %}a new run does all again{% endif %}"
        )
{%- if cookiecutter.task_runner != "threads" %}
    if (elsewhere := totals["rejected"] - run_report["rejected"]) > 0:
        raise RejectsElsewhereError(
            f"{elsewhere} bad records were set aside on the disks of other machines, in"
            f" {settings.home / 'rejects'}: let {PREFIX}HOME be a folder that the machines of the cluster share"
        )
{%- endif %}
    if lost:
        raise ResultsNotStoredError(
            f"all {len(chunks)} chunks are done, but the results of {lost} could not be stored; Prefect's log says why"
            " (--verbose shows it), and `make setup` whether the store can be written to now"
        )
    return run_report


def _run_report(job: str, chunks: list[Chunk], reports: Collection[ChunkReport], failures: int) -> RunReport:
    rejected, rejects_file = collect_rejects(job, chunks)
    totals = dict.fromkeys(COUNTS, 0)
    for report in reports:
        for name in COUNTS:
            totals[name] += report[name]  # type: ignore[literal-required]
    return RunReport(
        job=job,
        chunks=len(chunks),
        found=len(chunks) - len(reports) - failures,
        done=len(reports),
        totals=totals,
        rejected=rejected,
        rejects_file=str(rejects_file) if rejects_file else None,
    )
