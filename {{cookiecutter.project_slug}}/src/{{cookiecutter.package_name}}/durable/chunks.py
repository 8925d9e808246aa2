"""Chunked loads: skip finished chunks, map the rest over the task runner, and report every failure."""

from collections.abc import Collection, Iterable, Mapping
from functools import partial
from typing import Any, Protocol, TypedDict

from prefect import Task, get_client
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from prefect.futures import as_completed
from prefect.runtime import flow_run

from . import checkpoints, high_water, outbox, rejects, results, upserts
from .artifacts import chunk_table, rejects_told, resumed_note, summary
from .cache_keys import ACROSS_RUNS
from .context import FLOW, LOOKING, ChunksLeftError
from .cursors import Cursor
from .discovery import told
from .errors import (
    ChunksFailedError,
    InputError,
    RejectsElsewhereError,
    ResultsNotStoredError,
    RunFailedError,
    TooManyRejectsError,
    safe_reason,
)
from .labels import DONE, JOB, label_run
from .progress import progress
from .runners import final_state
from .settings import PREFIX, settings
from .steps import Step, checkpoint, full_name
from .tasks import stored

Counts = dict[str, int]
"""The counts of a chunk's records, by name: `{"read": 60, "rejected": 1, "inserted": 59}`.

A run compares `rejected` with `read` to decide whether it fails: see the setting `max_rejected`.
"""
WINDOW = 1000
"""The chunks that are mapped at a time: all task runs of a map stay in memory until its end."""
RESUMES = checkpoints.REMEMBERS or ACROSS_RUNS
"""Whether a new run skips the work of earlier runs, by checkpoints or by stored results."""


class Chunk(Protocol):
    """A part of the source: the input of one task, and one step of the job.

    With a cursor, a chunk needs `highest`: the highest value of its records, or None if it has no records. Two members
    are optional: `path` names the chunk's file, and `line(place)` returns the line of a rejected record in that file.
    """

    @property
    def key(self) -> str:
        """The identity of its content, up to 200 characters: changed content needs another key."""

    @property
    def label(self) -> str:
        """Its name for people, in logs and in Prefect's UI."""


class RunReport(TypedDict):
    """The outcome of a run."""

    job: str
    chunks: int
    """The number of chunks in the source."""
    skipped: int
    """Chunks that were done before, or by another process during this run."""
    done: int
    """Chunks that this run did."""
    totals: Counts
    """The summed counts of the chunks that this run did."""
    rejected: int
    """Rejected records of the source, set aside by this run or an earlier one."""
    rejects_file: str | None
    effects: Counts
    """Requests of `Step.send`: how many this run delivered, are left and were refused. Empty if there are none."""


def run_chunks(task: Task[Any, Any], chunks: Iterable[Chunk], *, job: str, cursor: Cursor | None = None) -> RunReport:
    """Run a task for each chunk that is not done, as many at a time as the setting `workers` allows.

    Shows progress in the terminal and in Prefect's UI, leaves a table of the chunks there, and collects all rejected
    records. Then delivers the effects of the steps, and those that earlier runs left.

    Args:
        task: takes a chunk and its `Step`; returns the chunk's counts, or None if another process has done the chunk.
        chunks: the chunks of the source; duplicates (the same key) are done once.
        job: the name of this work, up to 100 letters, digits, `.`, `_` and `-`. Checkpoints are kept by flow, job and
            key, so after a correction of the source only its changed chunks are loaded.
        cursor: for an incremental load: a cursor with the job's name. Pass all chunks that the source has since the
            high-water mark. The last chunk waits for the others, and the mark moves with it. A failed run does not move
            the mark.

    Returns:
        The outcome of the run.

    Raises:
        ChunksFailedError: some chunks failed; the others are done.
        ResultsNotStoredError: all chunks are done, but results that a later run relies on could not be stored.
        TooManyRejectsError: more of the source's records were rejected than the setting `max_rejected` allows, or all.
        RejectsElsewhereError: all chunks are done, but rejected records are on disks of other machines.
        EffectsNotDeliveredError: all chunks are done, but effects are left, or were refused; see `Step.send`.
        InputError: a file's name is not UTF-8.
        ValueError: `job` or a chunk's key is not valid.
        RuntimeError: the caller is not a flow of `durable_flow`.

    Example:
        @durable_flow(name="load-orders")
        def load_orders(folder: Path = settings.orders_folder) -> RunReport:
            return run_chunks(load_file, files(folder), job="orders")
    """
    try:
        name = full_name(FLOW.get(), job)
    except LookupError:
        raise RuntimeError("run_chunks works in a flow that is made with @durable_flow") from None
    by_key = {_named(chunk).key: chunk for chunk in chunks}
    highest = cursor.highest(by_key.values()) if cursor else None
    if LOOKING.get():
        if not checkpoints.REMEMBERS or (checkpoints.IN_STORE and results.NEEDS_SERVER):
            raise ChunksLeftError
        upserts.prepare()
    epoch = upserts.epoch()
    remembered = checkpoint(name, epoch)
    if cursor and cursor.name != remembered.job:
        raise ValueError(f"the cursor is of {cursor.name}, and the job is {name}: give both one name")
    _adopt(name, job, epoch)
    if LOOKING.get():
        if remembered.remaining(by_key) or outbox.backlog(name)["left"]:
            raise ChunksLeftError
        found = _report(name, by_key.values(), [], 0, {})
        _raise_for(found, {}, 0, *rejects.counted(name, by_key))
        outbox.check(name)
        return found
    with get_client(sync_client=True) as client:
        client.update_flow_run(flow_run.id, name=job)
    todo = [by_key[key] for key in remembered.remaining(by_key)]
    reports: dict[str, Counts] = {}
    failures: dict[str, str] = {}
    first: tuple[str, str] | None = None
    lost = 0
    left = len(todo)

    def tell(at_work: bool = True) -> None:
        label_run({JOB: name, DONE: f"{len(by_key) - left} of {len(by_key)} chunks"}, at_work)

    links = _links()
    known = set(links)
    tell()
    with progress(f"{FLOW.get()}-progress", job, len(by_key), len(by_key) - left, tell) as advance:
        for batch in _batches(todo, cursor):
            steps = [Step(name, chunk.key, epoch, chunk.label) for chunk in batch]
            if cursor and high_water.WITH_ROWS and batch[-1] is todo[-1]:
                # If the run may still fail, the mark moves after the checks below, or stays.
                sure = not failures and not rejects.counted(name, by_key)[1]
                steps[-1].finish = partial(cursor.close, highest) if sure else None
            futures = _configured(task).map(batch, steps)
            chunk_of = dict(zip(futures, batch, strict=True))
            for future in as_completed(futures):
                chunk = chunk_of[future]
                state = final_state(future)
                report: Any = state.result(raise_on_failure=False)
                if state.is_failed() or state.is_crashed():
                    failures[chunk.key] = told(report)
                    first = first or (chunk.label, safe_reason(report))
                else:
                    left -= 1
                    if _results_count():
                        if not stored(state):
                            lost += 1
                        elif checkpoints.REMEMBERS:
                            with remembered.step(chunk.key):
                                pass
                    if report is not None and state.name != "Cached":
                        reports[chunk.key] = dict(report)
                        rejects.count(name, chunk.key, report)
                advance()
            # No task takes these results; their states would stay until the flow ends, 2 KiB a chunk.
            for link in links.keys() - known:
                del links[link]
    tell(at_work=False)
    effects, reason = outbox.deliver_left(name)
    run_report = _report(name, by_key.values(), reports.values(), len(failures), effects)
    _leave_artifacts(by_key, reports, failures, run_report)
    try:
        _raise_for(run_report, failures, lost, *rejects.counted(name, by_key), first)
    except RunFailedError as error:
        if cursor:
            cursor.restart()
        if undelivered := outbox.undelivered(name, reason):
            raise type(error)(f"{error}\n{undelivered}", error.safe) from None
        raise
    if cursor:
        cursor.close(highest)
    outbox.check(name, reason)
    return run_report


def _links() -> dict[int, Any]:
    """Return Prefect's links from results of the flow's tasks to their states, which make parents of later tasks."""
    context = FlowRunContext.get()
    return context.run_results if context else {}


def _batches(chunks: list[Chunk], cursor: Cursor | None) -> list[list[Chunk]]:
    """Split the chunks for mapping: with a cursor, the last chunk waits until the others are done."""
    end = len(chunks) - bool(cursor)
    windows = [chunks[start : min(start + WINDOW, end)] for start in range(0, end, WINDOW)]
    return [batch for batch in [*windows, chunks[end:]] if batch]


def _results_count() -> bool:
    """Tell whether stored results matter: later runs read them, or they are the only output of the chunks."""
    return not (checkpoints.REMEMBERS and upserts.WRITES)


def _configured(task: Task[Any, Any]) -> Task[Any, Any]:
    # Prefect's type asks for an attribute that functions do not have.
    name: Any = _label
    if _results_count():
        return task.with_options(task_run_name=name, result_storage=results.storage())
    # Only the checkpoint may skip a chunk: the database may be a restored copy, and the job may have been reset.
    return task.with_options(task_run_name=name, persist_result=False, cache_policy=NO_CACHE)


def _label(parameters: dict[str, Any]) -> str:
    """Return the name of a task run: the label of its chunk."""
    return next(value.label for value in parameters.values() if isinstance(value, Step))


def _adopt(name: str, job: str, epoch: str) -> None:
    """Take over a job's checkpoints from version 0.1, whose job names did not contain the flow."""
    before, now = checkpoint(job, epoch), checkpoint(name, epoch)
    if (done := before.done()) and not now.done():
        rejects.adopt(job, name)
        for key in done:
            with now.step(key):
                pass
        before.reset()


def _report(
    job: str, chunks: Collection[Chunk], reports: Collection[Counts], failures: int, effects: Counts
) -> RunReport:
    rejected, rejects_file = rejects.collect(job, chunks)
    totals: Counts = {}
    for report in reports:
        for name, count in report.items():
            totals[name] = totals.get(name, 0) + count
    return RunReport(
        job=job,
        chunks=len(chunks),
        skipped=len(chunks) - len(reports) - failures,
        done=len(reports),
        totals=totals,
        rejected=rejected,
        rejects_file=str(rejects_file) if rejects_file else None,
        effects=effects,
    )


def _leave_artifacts(
    chunks: Mapping[str, Chunk], reports: Mapping[str, Counts], failures: Mapping[str, str], report: RunReport
) -> None:
    """Leave two artifacts in Prefect's UI: a table of the chunks, and a note on skipped chunks."""
    flow = FLOW.get()
    table = chunk_table({key: chunk.label for key, chunk in chunks.items()}, reports, failures, report["totals"])
    create_table_artifact(table, key=f"{flow}-chunks", description=summary(report, len(failures)))
    if note := resumed_note(report, len(failures), flow_run.run_count, f"{flow}-chunks"):
        create_markdown_artifact(note, key=f"{flow}-resumed", description=f"{report['job']}: what this run has skipped")


def _named(chunk: Chunk) -> Chunk:
    """Return the chunk, after a check that its label is valid Unicode: names that are not UTF-8 hold surrogates."""
    try:
        chunk.label.encode()
    except UnicodeEncodeError:
        raise InputError(f"{chunk.label!a}: the name is not UTF-8; rename the file") from None
    return chunk


def redo(job: str) -> str:
    """Return the commands that make the next run do a job's skipped chunks again; takes the job's full name."""
    steps = [f"make reset JOB={job}"] if checkpoints.REMEMBERS else []
    if ACROSS_RUNS and _results_count():
        steps.append("set PREFECT_TASKS_REFRESH_CACHE=true for the next run")
    return ", and ".join(steps)


def _raise_for(
    report: RunReport,
    failures: Mapping[str, str],
    lost: int,
    read: int,
    rejected: int,
    first: tuple[str, str] | None = None,
) -> None:
    """Raise an error if a run is no success. `first` is the label and the safe reason of the first failed chunk."""
    again = "run again for the rest" if RESUMES else "run again, from the beginning"
    if first:
        others = " The others are done." if len(failures) < report["chunks"] else ""
        label, reason = first
        what = f"{len(failures)} of {report['chunks']} chunks failed, the first"
        said = f"{what}, {label}, with: {next(iter(failures.values()))}.{others}"
        raise ChunksFailedError(
            f"{said} Correct it unless it passes by itself, then {again}\n{rejects_told(report)}".rstrip(),
            f"{what} with {reason}",
        )
    if (elsewhere := report["totals"].get("rejected", 0) - report["rejected"]) > 0:
        raise RejectsElsewhereError(
            f"{elsewhere} rejected records are on the disks of other machines, in {settings.home / 'rejects'}:"
            f" let {PREFIX}HOME be a folder that the machines of the cluster share",
            f"{elsewhere} rejected records are on the disks of other machines",
        )
    if read and (rejected == read or rejected > settings.max_rejected * read):
        what = f"all {read}" if rejected == read else f"{rejected} of {read}"
        where = f", with line and reason: {report['rejects_file']}" if report["rejects_file"] else ""
        raise TooManyRejectsError(
            f"{what} records were rejected{where}\ncorrect the source and run again; a run fails if all of its job's"
            f" records are rejected, or a share above {settings.max_rejected:g} ({PREFIX}MAX_REJECTED)",
            f"{what} records were rejected",
        )
    if lost:
        raise ResultsNotStoredError(
            f"all {report['chunks']} chunks are done, but the results of {lost} could not be stored; Prefect's log says"
            " why (--verbose shows it), and `make setup` whether the store can be written to now",
            f"the results of {lost} chunks could not be stored",
        )
