"""A long job in chunks: what is done is skipped, the rest is mapped over the task runner, and nothing ends unsaid."""

from collections.abc import Collection, Iterable, Mapping
from functools import partial
from typing import Any, Protocol, TypedDict

from prefect import Task, get_client
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import as_completed
from prefect.runtime import flow_run

from . import checkpoints, high_water, outbox, rejects, results, upserts
from .artifacts import chunk_table, resumed_note, summary
from .cache_keys import ACROSS_RUNS
from .context import FLOW, LOOKING, ChunksLeftError
from .cursors import Cursor
from .errors import (
    ChunksFailedError,
    InputError,
    RejectsElsewhereError,
    ResultsNotStoredError,
    RunFailedError,
    TooManyRejectsError,
    one_line,
)
from .labels import DONE, JOB, label_run
from .progress import progress
from .runners import final_state
from .settings import PREFIX, settings
from .steps import Step, checkpoint, full_name
from .tasks import stored

Counts = dict[str, int]
"""What became of the records of a chunk, by name: `{"read": 60, "rejected": 1, "inserted": 59}`.

A run fails by `read` and `rejected`, where these are most of those: see the setting `max_rejected`.
"""
RESUMES = checkpoints.REMEMBERS or ACROSS_RUNS
"""Whether a new run finds what an earlier one has done, by checkpoints or by stored results."""


class Chunk(Protocol):
    """A part of the source: what a task takes, and a step does.

    A chunk of a load with a cursor has a `highest`, the highest value of its records, or None where it has none. A
    chunk that has a `path` tells by it which file it is from, and one that has a method `line(place)` where in it a
    rejected record stands.
    """

    @property
    def key(self) -> str:
        """What the chunk holds, up to 200 characters: a chunk whose content changes has another key."""

    @property
    def label(self) -> str:
        """What people call it."""


class RunReport(TypedDict):
    """What a run found and did."""

    job: str
    chunks: int
    """Chunks of the source."""
    skipped: int
    """Those that were done before, or by another process meanwhile."""
    done: int
    """Those that this run did."""
    totals: Counts
    """The sums of the counts of the chunks that this run did."""
    rejected: int
    """Rejected records of the source, set aside by this run or before."""
    rejects_file: str | None
    effects: Counts
    """Requests of `Step.send`: how many this run delivered, are left and were refused. Empty if there are none."""


def run_chunks(task: Task[Any, Any], chunks: Iterable[Chunk], *, job: str, cursor: Cursor | None = None) -> RunReport:
    """Have a task do all chunks that are not done, as many at a time as the setting `workers` says.

    Shows progress in the terminal and in Prefect's UI, leaves a table of the chunks there, and collects the rejected
    records of all of them. Then delivers the effects that their steps sent, and those that are left of earlier runs.

    Args:
        task: takes a chunk and its `Step`; returns the chunk's counts, or None where another process has done it.
        chunks: of the source; two with one key are one.
        job: the name of this work, up to 100 letters, digits, `.`, `_` and `-`. What is done is known by flow, job and
            key, so a corrected source has only its changed chunks loaded.
        cursor: of a source that is loaded since the last time, with the name of the job. The chunks are then all that
            the source has since then; the last one waits for the others, and the mark moves with it. A run that fails
            leaves the mark.

    Returns:
        What the run found and did.

    Raises:
        ChunksFailedError: some chunks failed; the others are done.
        ResultsNotStoredError: all chunks are done, but results that a later run relies on could not be stored.
        TooManyRejectsError: more of the source's records were rejected than the setting `max_rejected` allows, or all.
        RejectsElsewhereError: all chunks are done, but rejected records are on disks of other machines.
        EffectsNotDeliveredError: all chunks are done, but effects are left, or were refused; see `Step.send`.
        InputError: a file's name is not UTF-8.
        ValueError: `job` is no name of a job, or a key no key.
        RuntimeError: no flow of `durable_flow` runs here.

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
        if by_key.keys() - remembered.done() or outbox.backlog(name)["left"]:
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
    lost = 0
    left = len(todo)

    def tell() -> None:
        label_run({JOB: name, DONE: f"{len(by_key) - left} of {len(by_key)} chunks"})

    tell()
    with progress(f"{FLOW.get()}-progress", job, len(by_key), len(by_key) - left) as advance:
        for batch in _batches(todo, cursor):
            steps = [Step(name, chunk.key, epoch, chunk.label) for chunk in batch]
            if cursor and high_water.WITH_ROWS and batch[-1] is todo[-1]:
                # Not where the run may fail all the same; then the mark moves below, or stays.
                sure = not failures and not rejects.counted(name, by_key)[1]
                steps[-1].finish = partial(cursor.close, highest) if sure else None
            futures = _configured(task).map(batch, steps)
            chunk_of = dict(zip(futures, batch, strict=True))
            for future in as_completed(futures):
                chunk = chunk_of[future]
                state = final_state(future)
                report: Any = state.result(raise_on_failure=False)
                if state.is_failed() or state.is_crashed():
                    failures[chunk.key] = one_line(report)
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
                if advance():
                    tell()
    tell()
    effects, reason = outbox.deliver_left(name)
    run_report = _report(name, by_key.values(), reports.values(), len(failures), effects)
    _leave_artifacts(by_key, reports, failures, run_report)
    try:
        _raise_for(run_report, failures, lost, *rejects.counted(name, by_key))
    except RunFailedError as error:
        if cursor:
            cursor.restart()
        if undelivered := outbox.undelivered(name, reason):
            raise type(error)(f"{error}\n{undelivered}") from None
        raise
    if cursor:
        cursor.close(highest)
    outbox.check(name, reason)
    return run_report


def _batches(chunks: list[Chunk], cursor: Cursor | None) -> list[list[Chunk]]:
    """Part what is mapped at once: with a cursor, the last chunk waits until the others are done."""
    return [batch for batch in ([chunks[:-1], chunks[-1:]] if cursor else [chunks]) if batch]


def _results_count() -> bool:
    """Whether the stored results of chunks are read by a later run, or are all that comes of the chunks."""
    return not (checkpoints.REMEMBERS and upserts.WRITES)


def _configured(task: Task[Any, Any]) -> Task[Any, Any]:
    # Prefect's own type asks for an attribute that functions do not have.
    name: Any = _label
    if _results_count():
        return task.with_options(task_run_name=name, result_storage=results.storage())
    # The checkpoint alone says what is done: the database may be an older copy, and the job may have been reset.
    return task.with_options(task_run_name=name, persist_result=False, cache_policy=NO_CACHE)


def _label(parameters: dict[str, Any]) -> str:
    """Return the name of a task run: the label of its chunk."""
    return next(value.label for value in parameters.values() if isinstance(value, Step))


def _adopt(name: str, job: str, epoch: str) -> None:
    """Take over what version 0.1 remembered of a job, whose name had no flow in it."""
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
    """Leave a table of the chunks in Prefect's UI, and a note on what the run has skipped."""
    flow = FLOW.get()
    table = chunk_table({key: chunk.label for key, chunk in chunks.items()}, reports, failures, report["totals"])
    create_table_artifact(table, key=f"{flow}-chunks", description=summary(report, len(failures)))
    if note := resumed_note(report, len(failures), flow_run.run_count, f"{flow}-chunks"):
        create_markdown_artifact(note, key=f"{flow}-resumed", description=f"{report['job']}: what this run has skipped")


def _named(chunk: Chunk) -> Chunk:
    """Return a chunk whose label is text: a file's name that is not UTF-8 holds halves of characters."""
    try:
        chunk.label.encode()
    except UnicodeEncodeError:
        raise InputError(f"{chunk.label!a}: the name is not UTF-8; rename the file") from None
    return chunk


def redo(job: str) -> str:
    """Return what to do so that the next run does the skipped chunks of a job again, by its full name."""
    steps = [f"make reset JOB={job}"] if checkpoints.REMEMBERS else []
    if ACROSS_RUNS and _results_count():
        steps.append("set PREFECT_TASKS_REFRESH_CACHE=true for the next run")
    return ", and ".join(steps)


def _raise_for(report: RunReport, failures: Mapping[str, str], lost: int, read: int, rejected: int) -> None:
    again = "run again for the rest" if RESUMES else "a new run does all again"
    if failures:
        raise ChunksFailedError(
            f"{len(failures)} of {report['chunks']} chunks failed, the first with: {next(iter(failures.values()))}."
            f" {'The others are done; ' if len(failures) < report['chunks'] else 'If that may pass, '}{again}"
        )
    if (elsewhere := report["totals"].get("rejected", 0) - report["rejected"]) > 0:
        raise RejectsElsewhereError(
            f"{elsewhere} rejected records are on the disks of other machines, in {settings.home / 'rejects'}:"
            f" let {PREFIX}HOME be a folder that the machines of the cluster share"
        )
    if read and (rejected == read or rejected > settings.max_rejected * read):
        what = f"all {read}" if rejected == read else f"{rejected} of {read}"
        where = f", with line and reason: {report['rejects_file']}" if report["rejects_file"] else ""
        raise TooManyRejectsError(
            f"{what} records were rejected{where}\ncorrect the source and run again; a run fails where all records are"
            f" rejected, or a share above {settings.max_rejected:g} ({PREFIX}MAX_REJECTED)"
        )
    if lost:
        raise ResultsNotStoredError(
            f"all {report['chunks']} chunks are done, but the results of {lost} could not be stored; Prefect's log says"
            " why (--verbose shows it), and `make setup` whether the store can be written to now"
        )
