"""A durable flow: what it loads, what it skips, and what is left of it after SIGKILL."""

import csv
import json
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import Task, flow, get_client, task
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State, TaskRun
from prefect.context import FlowRunContext
from prefect.runtime import task_run
from prefect.states import Cancelled, Completed, Crashed, Failed, Pending, Running, Scheduled

from {{ cookiecutter.package_name }}.durable import (
    Counts,
    RunReport,
    Step,
    durable_flow,
    durable_task,
    resume,
    run_chunks,
    upserts,
)
from {{ cookiecutter.package_name }}.durable.cache_keys import ACROSS_RUNS
from {{ cookiecutter.package_name }}.durable.checkpoints import OUTSIDE, REMEMBERS
from {{ cookiecutter.package_name }}.durable.errors import (
    InputError,
    ResultsNotStoredError,
    TooManyRejectsError,
)
from {{ cookiecutter.package_name }}.durable.rejects import Reject, collect, set_aside
from {{ cookiecutter.package_name }}.durable.resume import FIRST_REPORT, resume_dead_runs
from {{ cookiecutter.package_name }}.durable.runs import alive, dead
from {{ cookiecutter.package_name }}.durable.settings import settings
from {{ cookiecutter.package_name }}.durable.steps import checkpoint

from tests.support import sink, store, toys
from tests.support.processes import Child
from tests.support.toy import load_toys, load_toys_of, table
from tests.support.toys import FLOW, chunks, expected, hold, write

pytestmark = pytest.mark.usefixtures("api")

COMMAND_LINE = """
from tests.support import toys
from {{ cookiecutter.package_name }}.durable.cli import main

if __name__ == "__main__":
    main()
"""
TIMEOUT = 60
"""Seconds."""
CHUNKS = 50
SKIPS = REMEMBERS or ACROSS_RUNS
"""Whether a new run skips what an earlier one has done."""


def run(path: Path, job: str | None = None) -> RunReport:
    report: RunReport = load_toys(path, job)
    return report


def done_of(job: str) -> set[str]:
    """The keys of the chunks that the checkpoint knows to be done."""
    return checkpoint(f"{FLOW}/{job}", upserts.epoch()).done()


def assert_loaded(path: Path) -> None:
    """The table has what the source has, if there is a table."""
    if upserts.WRITES:
        assert table() == expected(path)


def test_source_is_loaded_whole(tmp_path: Path) -> None:
    report = run(chunks(tmp_path / "f.txt", 5))
    assert (report["job"], report["chunks"], report["skipped"], report["done"]) == (f"{FLOW}/f", 5, 0, 5)
    assert report["totals"]["read"] == 15
    assert_loaded(tmp_path / "f.txt")


def test_second_run_does_only_what_is_left(tmp_path: Path) -> None:
    path = chunks(tmp_path / "f.txt", 5)
    run(path)
    report = run(path)
    assert (report["skipped"], report["done"]) == ((5, 0) if SKIPS else (0, 5))
    assert_loaded(path)


def test_chunks_are_mapped_in_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = []
    whole = Task.map

    def counting(task: Any, batch: list[Any], *rest: Any) -> Any:
        windows.append(len(batch))
        return whole(task, batch, *rest)

    monkeypatch.setattr(Task, "map", counting)
    monkeypatch.setattr("{{ cookiecutter.package_name }}.durable.chunks.WINDOW", 2)
    assert run(chunks(tmp_path / "f.txt", 5))["done"] == 5
    assert windows == [2, 2, 1]
    assert_loaded(tmp_path / "f.txt")


def test_states_of_chunks_do_not_stay_until_the_flow_ends(tmp_path: Path) -> None:
    path = chunks(tmp_path / "f.txt", 5)
    settled: list[dict[int, Any]] = []

    @task
    def prepare() -> list[str]:
        return ["ready"]

    @durable_flow(name="load-linked")
    def load_linked() -> int:
        prepared = prepare()
        context = FlowRunContext.get()
        assert context
        settled.append(dict(context.run_results))
        run_chunks(load_toys_of, toys.read(path), job="f")
        settled.append(dict(context.run_results))
        return len(prepared)

    load_linked()
    before, after = settled
    assert before
    assert after == before, "only links of other tasks are left"


def test_corrected_source_has_its_changed_chunks_loaded(tmp_path: Path) -> None:
    run(write(tmp_path / "f.txt", "a x 1", "a y 1", "b x 1", "c x 1"))
    later = write(tmp_path / "f.txt", "a x 9", "a y 1", "b x 1", "d x 1")
    report = run(later)
    assert report["done"] == (2 if SKIPS else 3)
    if upserts.WRITES:
        assert (report["totals"]["inserted"], report["totals"]["updated"]) == (1, 1)
        assert table() == {("a", "x"): 9, ("a", "y"): 1, ("b", "x"): 1, ("c", "x"): 1, ("d", "x"): 1}
    before = write(tmp_path / "f.txt", "a x 1", "a y 1", "b x 1", "c x 1")
    assert run(before)["done"] == (0 if SKIPS else 3), "what it holds was done before"
    if upserts.WRITES:
        assert table()["a", "x"] == (9 if SKIPS else 1)


def test_every_record_is_accounted_for(tmp_path: Path) -> None:
    totals = run(write(tmp_path / "f.txt", "a x 1", "a y 2", "a nonsense", "a x 5"))["totals"]
    assert (totals["read"], totals["rejected"]) == (4, 1)
    if upserts.WRITES:
        assert totals["inserted"] == 2
        assert table()["a", "x"] == 5, "the last record of a key wins"


def test_database_made_anew_is_filled_again(tmp_path: Path) -> None:
    path = chunks(tmp_path / "f.txt", 3)
    run(path)
    sink.empty()
    again = 3 if upserts.WRITES or not SKIPS else 0
    assert run(path)["done"] == again, "what was done for the old database does not count"
    assert_loaded(path)


def test_jobs_do_not_see_each_other(tmp_path: Path) -> None:
    path = chunks(tmp_path / "f.txt", 3)
    run(path, job="one")
    assert run(path, job="two")["done"] == 3


def test_flows_do_not_see_each_other(tmp_path: Path) -> None:
    path = write(tmp_path / "f.txt", "a x 1", "b nonsense")

    @durable_flow(name="load-others")
    def load_others(source: Path) -> RunReport:
        return run_chunks(load_toys_of, toys.read(source), job="f")

    mine, others = run(path), load_others(path)
    assert others["done"] == mine["done"] == 2
    assert mine["rejects_file"] != others["rejects_file"]
    assert {mine["job"], others["job"]} == {f"{FLOW}/f", "load-others/f"}


def test_chunks_need_a_durable_flow() -> None:
    with pytest.raises(RuntimeError, match="@durable_flow"):
        run_chunks(load_toys_of, [], job="f")


@pytest.mark.parametrize("job", ["", "../escape", "a/b", "a b", "é", "a" * 101])
def test_job_that_is_no_name_is_refused(tmp_path: Path, job: str) -> None:
    with pytest.raises(InputError, match="cannot be the name of a job"):
        run(chunks(tmp_path / "f.txt", 1), job or "-")


def test_what_version_0_1_remembered_counts_on(tmp_path: Path) -> None:
    path = chunks(tmp_path / "f.txt", 3)
    before = checkpoint("f", upserts.epoch() if _prepared() else "")
    for chunk in toys.read(path)[:2]:
        with before.step(chunk.key):
            pass
    set_aside("f", toys.read(path)[0].key, "01", [Reject(0, "old", "record")])
    report = run(path)
    if REMEMBERS:
        assert (report["skipped"], report["done"], report["rejected"]) == (2, 1, 1)
    assert before.done() == set()
    assert run(path)["done"] == (0 if SKIPS else 3)


def _prepared() -> bool:
    upserts.prepare()
    return True


def test_rejects_are_kept_with_line_and_reason_over_runs(tmp_path: Path) -> None:
    path = write(tmp_path / "f.txt", "a x 1", "a y -1", "b x 1", "nonsense")
    run(path)
    report = run(path)
    assert report["rejected"] == 2
    with Path(str(report["rejects_file"])).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["chunk"], row["line"], row["record"]) for row in rows] == [
        ("a", "2", "a y -1"),
        ("nonsense", "4", "nonsense"),
    ]
    corrected = run(write(path, "a x 1", "a y 1", "b x 1"))
    assert (corrected["rejected"], corrected["rejects_file"]) == (0, None)


def test_sources_of_one_job_do_not_delete_each_others_rejects(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = tmp_path / "a" / "f.txt", tmp_path / "b" / "f.txt"
    run(write(first, "a x 1", "nonsense"))
    assert run(write(second, "b x 1", "c x 1"))["rejected"] == 0
    report = run(write(second, "b x 1", "c nonsense"))
    assert report["rejected"] == 1

    def rejects() -> list[tuple[str, str]]:
        with Path(str(report["rejects_file"])).open(newline="") as file:
            return [(row["file"], row["record"]) for row in csv.DictReader(file)]

    assert rejects() == [(str(first), "nonsense"), (str(second), "c nonsense")]
    run(write(first, "a x 1", "b x 1"))
    assert rejects() == [(str(second), "c nonsense")]


def test_run_fails_above_a_share_of_rejects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "f.txt", "a x 1", "b nonsense", "b more nonsense")
    with pytest.raises(TooManyRejectsError, match="2 of 3 records were rejected"):
        run(path)
    assert_loaded(path)
    with pytest.raises(TooManyRejectsError):
        run(path)
    monkeypatch.setitem(settings.__dict__, "max_rejected", 0.7)
    assert run(path)["rejected"] == 2


def test_reject_of_any_length_can_be_read(tmp_path: Path) -> None:
    path = write(tmp_path / "f.txt", "a x 1", "b x 1", "b " + "\0" * 300_000)
    for _ in range(2):
        report = run(path)
        assert report["rejected"] == 1
    with Path(str(report["rejects_file"])).open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["file"], row["line"]) == (str(path), "3")
    assert row["record"].endswith("␀… (300002 characters)")


def test_long_reject_of_an_older_version_can_be_read(tmp_path: Path) -> None:
    (chunk,) = toys.read(write(tmp_path / "f.txt", "a x 1"))
    set_aside(f"{FLOW}/f", chunk.key, chunk.label, [Reject(0, "wrong", "a")])
    (part,) = (settings.home / "rejects" / "parts").rglob("*.csv")
    part.write_text(f"place,reason,record\n0,wrong,{'a' * 300_000}\n")
    assert collect(f"{FLOW}/f", [chunk])[0] == 1


def test_reject_is_there_once_whatever_path_leads_to_its_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    file = write(tmp_path / "f.txt", "a x 1")
    for path in (file, tmp_path / "link" / "f.txt"):
        (chunk,) = toys.read(path)
        set_aside("flow/f", chunk.key, chunk.label, [Reject(0, "wrong", "a")])
        count, collected = collect("flow/f", [chunk])
        assert (count, str(collected and collected.read_text()).count("wrong")) == (1, 1)


def test_label_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    @durable_flow(name=FLOW)
    def load_odd() -> RunReport:
        return run_chunks(load_toys_of, [toys.Toys("caf\udce9", "", tmp_path, ())], job="f")

    with pytest.raises(InputError, match="the name is not UTF-8; rename the file"):
        load_odd()


def test_file_of_rejects_changes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (chunk,) = toys.read(write(tmp_path / "f.txt", "a x 1"))
    set_aside("flow/f", chunk.key, chunk.label, [Reject(0, "wrong", "a")])
    _, file = collect("flow/f", [chunk])
    assert file
    before = file.read_text()
    set_aside("flow/f", chunk.key, chunk.label, [Reject(0, "wrong", "a"), Reject(0, "wrong too", "b")])

    def crash(*_: object) -> None:
        raise OSError("the machine stops here")

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(OSError, match="stops here"):
        collect("flow/f", [chunk])
    assert file.read_text() == before


def artifacts_of(flow_run_id: UUID | None) -> dict[str, Any]:
    """What a run left in the UI: the data of each artifact, by key without the flow; of a table, its rows."""
    assert flow_run_id
    with get_client(sync_client=True) as client:
        response = client.request(
            "POST", "/artifacts/filter", json={"artifacts": {"flow_run_id": {"any_": [str(flow_run_id)]}}}
        )
    found = {artifact["key"].removeprefix(f"{FLOW}-"): artifact["data"] for artifact in response.json()}
    return {**found, "chunks": json.loads(found["chunks"])}


def test_run_leaves_progress_and_a_table_in_the_ui(tmp_path: Path) -> None:
    state = load_toys(chunks(tmp_path / "f.txt", 2), return_state=True)
    artifacts = artifacts_of(state.state_details.flow_run_id)
    assert {"progress", "chunks"} <= set(artifacts)
    assert "resumed" not in artifacts
    assert artifacts["progress"] == 100
    assert [(row["chunk"], row["outcome"]) for row in artifacts["chunks"]] == [
        ("all", ""),
        ("01", "done"),
        ("02", "done"),
    ]
    assert artifacts["chunks"][0]["read"] == 6


def test_runs_are_named_by_job_and_chunk(tmp_path: Path) -> None:
    names = tmp_path / "names"
    names.mkdir()

    @durable_task(version="1")
    def note(chunk: toys.Toys, step: Step) -> Counts:
        (names / str(task_run.name)).touch()
        return {"read": 0}

    @durable_flow(name="load-names")
    def load_names(source: Path) -> RunReport:
        return run_chunks(note, toys.read(source), job="f")

    state = load_names(chunks(tmp_path / "f.txt", 2), return_state=True)
    flow_run_id = state.state_details.flow_run_id
    assert flow_run_id
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(flow_run_id).name == "f"
    assert {path.name for path in names.iterdir()} == {"01", "02"}


def test_run_notes_in_the_ui_what_it_has_skipped(tmp_path: Path) -> None:
    path = write(tmp_path / "f.txt", "a x 1", "b nonsense")
    run(path)
    state = load_toys(write(path, "a x 1", "b nonsense", "c x 1"), return_state=True)
    artifacts = artifacts_of(state.state_details.flow_run_id)
    outcomes = [(row["chunk"], row["outcome"]) for row in artifacts["chunks"]]
    if SKIPS:
        assert outcomes == [("all", ""), ("c", "done"), ("a", "skipped"), ("b", "skipped")]
        assert "| skipped, done before | 2 |\n| done | 1 |" in artifacts["resumed"]
        file = settings.home / "rejects" / FLOW / "f.csv"
        assert f"1 rejected record, with line and reason: `{file}`" in str(artifacts)
    else:
        assert outcomes == [("all", ""), ("a", "done"), ("b", "done"), ("c", "done")]


def test_chunk_whose_result_is_lost_is_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = chunks(tmp_path / "f.txt", 3)
    with monkeypatch.context() as patch:
        patch.setattr("{{ cookiecutter.package_name }}.durable.chunks.stored", lambda _: False)
        if REMEMBERS and upserts.WRITES:
            assert run(path)["done"] == 3, "the checkpoint alone says what is done: no result is missed"
            return
        with pytest.raises(ResultsNotStoredError):
            run(path)
    assert done_of("f") == set()
    run(path)
    assert len(done_of("f")) == (3 if REMEMBERS else 0)


def test_results_of_chunks_are_stored_only_where_they_are_read(tmp_path: Path) -> None:
    run(chunks(tmp_path / "f.txt", 3))
    results = [name for name in store.names() if not name.startswith("checkpoints")]
    assert len(results) == (0 if REMEMBERS and upserts.WRITES else 3)


def test_no_mark_is_left_by_runs_that_end_by_themselves(tmp_path: Path) -> None:
    run(chunks(tmp_path / "f.txt", 1))
    assert load_toys(tmp_path / "missing.txt", return_state=True).is_failed()
    assert dead() == []
    with alive("00000000-0000-0000-0000-000000000000", FLOW):
        assert dead() == []


def killed_half_way(path: Path) -> None:
    """Load a source in a process of its own, and kill that when some chunks are done and others are not."""
    hold(path, f"{CHUNKS}")
    script = path.with_name("run.py")
    script.write_text(COMMAND_LINE)
    sink.release()
    child = Child(script, "run", FLOW, str(path))
    while child.process.is_alive() and progress_of(path.stem) < 15:
        time.sleep(0.01)
    child.kill()
    assert child.end()[0] == -signal.SIGKILL, "the run ended before it could be killed"
    path.with_suffix(f".hold-{CHUNKS}").unlink()
    sink.release()


def progress_of(job: str) -> int:
    """How many chunks of a job are done, as the run counts them: a database may let one process in at a time."""
    counts = settings.home / "counts" / FLOW / f"{job}.csv"
    return len(counts.read_text().splitlines()) if counts.exists() else 0


@pytest.mark.slow
def test_killed_run_is_finished_by_a_new_one(tmp_path: Path) -> None:
    path = chunks(tmp_path / "f.txt", CHUNKS)
    killed_half_way(path)
    report = run(path)
    if SKIPS:
        assert 10 <= report["skipped"] < CHUNKS
        assert report["done"] == CHUNKS - report["skipped"]
    else:
        assert report["done"] == CHUNKS
    assert_loaded(path)


@pytest.mark.slow
def test_killed_run_is_resumed(tmp_path: Path) -> None:
    path = chunks(tmp_path / "f.txt", CHUNKS)
    killed_half_way(path)
    ((flow_run_id, name),) = dead()
    assert name == FLOW
    assert state_of(flow_run_id) == "Running", "Prefect does not know that the process is gone"
    wait_for_events(flow_run_id)
    reports: list[RunReport] = []
    assert resume_dead_runs(reports.append)
    assert [report["chunks"] for report in reports] == [CHUNKS]
    assert reports[0]["skipped"] >= 10
    assert state_of(flow_run_id) == "Completed"
    deadline = time.monotonic() + TIMEOUT
    while "Running" in task_states(flow_run_id).values():
        assert time.monotonic() < deadline, "a task of the killed process is Running for ever"
        time.sleep(0.1)
    artifacts = artifacts_of(flow_run_id)
    assert artifacts["resumed"].startswith(f"Attempt 2 of this run of `{FLOW}/f`")
    outcomes = [row["outcome"] for row in artifacts["chunks"]]
    assert (outcomes.count("skipped"), outcomes.count("done")) == (reports[0]["skipped"], reports[0]["done"])
    assert dead() == []
    assert_loaded(path)


def test_older_copy_of_the_database_is_filled_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = chunks(tmp_path / "f.txt", 3)
    run(path)
    sink.copy(tmp_path)
    run(chunks(path, 6))
    sink.put_back(tmp_path)
    report = run(path)
    if OUTSIDE or not REMEMBERS:
        assert report["done"] == (0 if SKIPS else 6), "what is remembered elsewhere passes for rows"
        checkpoint(f"{FLOW}/f", upserts.epoch()).reset()
        monkeypatch.setenv("PREFECT_TASKS_REFRESH_CACHE", "true")
        if REMEMBERS:
            run(path)
    if REMEMBERS:
        assert_loaded(path)


def test_resuming_crashes_the_tasks_of_a_killed_run(tmp_path: Path) -> None:
    flow_run = left_by_a_kill(chunks(tmp_path / "f.txt", 1))
    tasks = [begun(flow_run, Pending()), begun(flow_run, Running())]
    assert resume_dead_runs(lambda _: None)
    states = task_states(flow_run.id)
    assert [states[task.id] for task in tasks] == ["Crashed", "Crashed"]


def test_resuming_crashes_tasks_that_a_busy_server_reads_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flow_run = left_by_a_kill(chunks(tmp_path / "f.txt", 1))
    late, new = begun(flow_run, Running()), begun(flow_run, Running())
    of_the_new_attempt = new.model_copy(update={"flow_run_run_count": 2})
    pages = iter([[], [late, of_the_new_attempt], []])
    with monkeypatch.context() as patch:
        patch.setattr(SyncPrefectClient, "read_task_runs", lambda *_, **__: next(pages))
        assert resume_dead_runs(lambda _: None)
    states = task_states(flow_run.id)
    assert (states[late.id], states[new.id]) == ("Crashed", "Running")


def test_resuming_fails_where_one_of_the_runs_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "missing.txt"
    bad = left_by_a_kill(missing)
    good = left_by_a_kill(chunks(tmp_path / "f.txt", 1))
    assert not resume_dead_runs(lambda _: None)
    assert f"{bad.name} ended Failed: {missing}: cannot be read: No such file" in capsys.readouterr().err
    assert (state_of(bad.id), state_of(good.id)) == ("Failed", "Completed")


def test_resuming_forgets_a_run_that_the_server_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    mark(uuid4())
    assert resume_dead_runs(lambda _: None)
    assert "forgotten" in capsys.readouterr().err
    assert dead() == []


def test_run_of_another_flow_is_left_and_the_others_are_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    @flow(name="load-what-is-gone")
    def gone(source: str) -> None: ...

    left = left_by_a_kill(tmp_path / "any.txt", gone)
    good = left_by_a_kill(chunks(tmp_path / "f.txt", 1))
    assert not resume_dead_runs(lambda _: None)
    assert "this project has no flow load-what-is-gone" in (said := capsys.readouterr().err)
    assert said.rstrip().endswith(f"make reset JOB=load-what-is-gone/{left.name}.")
    assert (state_of(left.id), state_of(good.id)) == ("Running", "Completed")
    assert [found.id for found in dead()] == [left.id], "it is not forgotten: its flow may come back"


@pytest.mark.parametrize("parameters", [{"folder": "a"}, {"source": "a", "times": 0}, {}])
def test_run_whose_parameters_the_flow_does_not_take_is_left(
    tmp_path: Path, parameters: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    left = left_by_a_kill(tmp_path / "any.txt", parameters=parameters)
    good = left_by_a_kill(chunks(tmp_path / "f.txt", 1))
    assert not resume_dead_runs(lambda _: None)
    said = capsys.readouterr().err
    assert f"{FLOW} does not take its parameters any more" in said
    assert said.count("\n") == 1
    assert (state_of(left.id), state_of(good.id)) == ("Running", "Completed")


@pytest.mark.parametrize("state", [Cancelled(), Failed(), Completed()], ids=lambda state: state.name)
def test_run_that_a_person_has_ended_stays_so(state: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flow_run = left_by_a_kill(chunks(tmp_path / "f.txt", 1))
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run.id, state, force=True)
    assert resume_dead_runs(lambda _: None)
    assert f"is {state.name}; it stays so" in capsys.readouterr().out
    assert state_of(flow_run.id) == state.name
    assert dead() == []


def test_deployed_run_is_scheduled_when_its_worker_has_reported_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resume, "DEATH", 3600.0)
    monkeypatch.setattr(resume, "REPORTS", 3600.0)
    deployed = left_by_a_worker(tmp_path, Running())
    with ThreadPoolExecutor(1) as pool:
        resuming = pool.submit(copy_context().run, resume_dead_runs, lambda _: None)
        time.sleep(1)
        assert not resuming.done()
        report(deployed, Crashed(message=f"{FIRST_REPORT}: -9."))
        time.sleep(1)
        assert not resuming.done()
        monkeypatch.setattr(resume, "REPORTS", 0.0)
        assert resuming.result()
    assert state_of(deployed.id) == "Scheduled"


@pytest.mark.parametrize("state", [Scheduled(), Pending(), Completed()], ids=lambda state: state.name)
def test_deployed_run_that_goes_on_elsewhere_meanwhile_is_left(
    tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resume, "REPORTS", 3600.0)
    deployed = left_by_a_worker(tmp_path, Crashed(message=f"{FIRST_REPORT}: -9."))
    with ThreadPoolExecutor(1) as pool:
        resuming = pool.submit(copy_context().run, resume_dead_runs, lambda _: None)
        time.sleep(1)
        assert not resuming.done()
        report(deployed, state)
        assert resuming.result()
    assert state_of(deployed.id) == state.name


def left_by_a_worker(tmp_path: Path, state: State) -> FlowRun:
    """Have a flow run of a deployment, as a worker on this machine leaves it whose process was killed."""
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(load_toys), name=str(uuid4()))
        given = {"source": str(tmp_path / "f.txt")}
        flow_run = client.create_flow_run_from_deployment(deployment, parameters=given, state=state)
    mark(flow_run.id)
    return flow_run


def report(flow_run: FlowRun, state: State) -> None:
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run.id, state, force=True)


def left_by_a_kill(
    path: Path, of: Callable[..., Any] = load_toys, parameters: dict[str, object] | None = None
) -> FlowRun:
    """Have a flow run that loads a source, as a killed process leaves it."""
    given = {"source": str(path)} if parameters is None else parameters
    with get_client(sync_client=True) as client:
        flow_run = client.create_flow_run(of, parameters=given, state=Running())  # type: ignore[arg-type]
    mark(flow_run.id)
    return flow_run


def mark(flow_run_id: UUID) -> None:
    (settings.home / "runs").mkdir(parents=True, exist_ok=True)
    (settings.home / "runs" / f"{flow_run_id}.run").touch()


def begun(flow_run: FlowRun, state: State) -> TaskRun:
    with get_client(sync_client=True) as client:
        return client.create_task_run(Task(lambda: None, name="task"), flow_run.id, str(uuid4()), state=state)


def state_of(flow_run_id: UUID) -> str | None:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(flow_run_id).state_name


def task_states(flow_run_id: UUID) -> dict[UUID, str | None]:
    run_of = FlowRunFilter.model_validate({"id": {"any_": [flow_run_id]}})
    with get_client(sync_client=True) as client:
        return {task_run.id: task_run.state_name for task_run in client.read_task_runs(flow_run_filter=run_of)}


def wait_for_events(flow_run_id: UUID) -> None:
    """Wait until the server has read what it was sent of a run's tasks: it hears of their states by events."""
    known, now = None, task_states(flow_run_id)
    while now != known:
        time.sleep(1)
        known, now = now, task_states(flow_run_id)
