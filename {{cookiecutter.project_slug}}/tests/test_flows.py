"""The flow: what it loads, what it leaves alone, and what is left of it after SIGKILL."""

import csv
import json
import signal
import time
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import Task, get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State, TaskRun
from prefect.states import Pending, Running
{%- if cookiecutter.upsert != "none" %}
from sqlalchemy import {% if cookiecutter.checkpoint in ["file", "storage"] %}delete, {% endif %}select
{%- endif %}

from {{ cookiecutter.package_name }}.flights import Reject, opened
from {{ cookiecutter.package_name }}.flows import {% if cookiecutter.checkpoint in ["file", "storage"] and cookiecutter.upsert == "none" %}ResultsNotStoredError, {% endif %}RunReport, {% if cookiecutter.checkpoint in ["file", "storage"] %}checkpoint, {% endif %}load_flights
from {{ cookiecutter.package_name }}.rejects import collect_rejects, set_aside
from {{ cookiecutter.package_name }}.resume import resume_dead_runs
from {{ cookiecutter.package_name }}.runs import alive, dead
from {{ cookiecutter.package_name }}.settings import settings
{%- if cookiecutter.upsert != "none" %}
from {{ cookiecutter.package_name }}.tables import {% if cookiecutter.checkpoint in ["file", "storage"] %}epoch, {% endif %}flights
from {{ cookiecutter.package_name }}.upsert import database
{%- endif %}

{% if cookiecutter.upsert != "none" %}import sink
{% endif %}import store
from processes import Child
from source import days, {% if cookiecutter.upsert != "none" %}keys, {% endif %}record, write

pytestmark = pytest.mark.usefixtures("api")

COMMAND_LINE = """
import time

from {{ cookiecutter.package_name }} import flows
from {{ cookiecutter.package_name }}.__main__ import main

plain = flows.check

def check(chunk):
    if chunk.label == "2013-02-19":
        time.sleep(60)
    return plain(chunk)

if __name__ == "__main__":
    flows.check = check
    main()
"""
"""Of 50 days the last one takes so long that a run does not end before it is killed, however busy the machine is."""
TIMEOUT = 60
"""Seconds."""


def run(path: Path, job: str | None = None, chunk_days: int | None = None) -> RunReport:
    report: RunReport = load_flights(path, job, chunk_days)
    return report
{%- if cookiecutter.upsert != "none" %}


def table() -> dict[tuple[str, int, str], int | None]:
    """The departure delay of each flight in the table, by key."""
    columns = (flights.c.carrier, flights.c.flight, flights.c.time_hour, flights.c.dep_delay)
    with database().connect() as connection:
        return {
            (carrier, number, f"{hour:%Y-%m-%dT%H:%M:%SZ}"): delay
            for carrier, number, hour, delay in connection.execute(select(*columns))
        }
{%- endif %}


def test_sample_is_loaded_whole() -> None:
    report = run(settings.source)
    assert (report["job"], report["chunks"], report["found"], report["done"]) == ("flights", 31, 0, 31)
{%- if cookiecutter.upsert != "none" %}
    assert report["totals"] == {
        "read": 2001,
        "rejected": 0,
        "inserted": 2001,
        "updated": 0,
        "unchanged": 0,
        "repeated": 0,
    }
    assert set(table()) == keys(settings.source)
{%- else %}
    assert report["totals"] == {"read": 2001, "rejected": 0, "flights": 2001, "cancelled": 40}
{%- endif %}


def test_second_run_{% if cookiecutter.cache_key != "none" or cookiecutter.checkpoint != "none" %}does_nothing{% else %}does_all_again_with_the_same_outcome{% endif %}(tmp_path: Path) -> None:
    path = days(tmp_path / "f.csv", 5)
    run(path)
    report = run(path)
{%- if cookiecutter.cache_key != "none" or cookiecutter.checkpoint != "none" %}
    assert (report["found"], report["done"]) == (5, 0)
{%- else %}
    assert (report["found"], report["done"]) == (0, 5)
{%- endif %}
{%- if cookiecutter.upsert != "none" %}
    assert report["totals"]["inserted"] == report["totals"]["updated"] == 0
    assert set(table()) == keys(path)


def test_later_file_corrects_rows(tmp_path: Path) -> None:
    run(write(tmp_path / "f.csv", record(1, 1), record(1, 2), record(2, 1), record(3, 1)))
    later = write(tmp_path / "g.csv", record(1, 1, dep_delay=99), record(1, 2), record(2, 1), record(4, 1))
    totals = run(later, job="f")["totals"]
    assert (totals["inserted"], totals["updated"]) == (1, 1)
    delays = table()
    assert len(delays) == 5
    assert delays["UA", 1, "2013-01-01T10:00:00Z"] == 99
    assert delays["UA", 2, "2013-01-01T10:00:00Z"] == 2


def test_every_record_is_accounted_for(tmp_path: Path) -> None:
    path = write(tmp_path / "f.csv", record(1, 1, dep_delay=1), record(1, 2), "nonsense", record(1, 1, dep_delay=5))
    totals = run(path)["totals"]
    assert totals == {"read": 4, "rejected": 1, "inserted": 2, "updated": 0, "unchanged": 0, "repeated": 1}
    assert table()["UA", 1, "2013-01-01T10:00:00Z"] == 5, "the last record of a key wins"


def test_database_made_anew_is_filled_again(tmp_path: Path) -> None:
    path = days(tmp_path / "f.csv", 3)
    run(path)
    sink.empty()
    assert run(path)["done"] == 3, "stored results of the old database are not rows of this one"
    assert set(table()) == keys(path)
{%- endif %}


{% if cookiecutter.checkpoint == "database" -%}
def test_older_copy_of_the_database_is_filled_up(tmp_path: Path) -> None:
    path = days(tmp_path / "f.csv", 3)
    run(path)
    sink.copy(tmp_path)
    run(days(path, 6))
    sink.put_back(tmp_path)
    assert run(path)["done"] == 3, "stored results do not overrule the checkpoint"
    assert set(table()) == keys(path)


{% elif cookiecutter.checkpoint != "none" and cookiecutter.upsert != "none" -%}
def test_older_copy_of_the_database_is_filled_up_after_a_reset(tmp_path: Path) -> None:
    path = days(tmp_path / "f.csv", 3)
    run(path)
    with database().begin() as connection:
        connection.execute(delete(flights))
    assert run(path)["done"] == 0, "the marks say that the rows are there"
    assert table() == {}
    assert checkpoint("f", epoch(database())).reset()
    assert run(path)["done"] == 3, "stored results do not overrule the checkpoint"
    assert set(table()) == keys(path)


{% elif cookiecutter.checkpoint != "none" -%}
def test_chunk_is_marked_when_its_result_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = days(tmp_path / "f.csv", 3)
    with monkeypatch.context() as patch:
        patch.setattr("{{ cookiecutter.package_name }}.flows.stored", lambda _: False)
        with pytest.raises(ResultsNotStoredError):
            run(path)
    assert checkpoint("f").done() == set()
    run(path)
    assert len(checkpoint("f").done()) == 3


{% endif -%}
def test_jobs_do_not_see_each_other(tmp_path: Path) -> None:
    path = days(tmp_path / "f.csv", 3)
    run(path, job="one")
    assert run(path, job="two")["done"] == 3


def test_rejects_are_kept_with_line_and_reason_over_runs(tmp_path: Path) -> None:
    path = write(tmp_path / "f.csv", record(1, 1), record(1, 2, distance=-1), record(2, 1), "nonsense")
    run(path)
    report = run(path)
    assert report["rejected"] == 2
    with Path(str(report["rejects_file"])).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["line"], row["record"]) for row in rows] == [("3", record(1, 2, distance=-1)), ("5", "nonsense")]
    corrected = run(write(path, record(1, 1), record(1, 2), record(2, 1)))
    assert (corrected["rejected"], corrected["rejects_file"]) == (0, None)


def test_file_of_rejects_changes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(write(tmp_path / "f.csv", record()), 1) as chunks:
        set_aside("f", chunks[0], [Reject(0, "wrong", "a")])
        _, file = collect_rejects("f", chunks)
        assert file
        before = file.read_text()
        set_aside("f", chunks[0], [Reject(0, "wrong", "a"), Reject(0, "wrong too", "b")])

        def crash(*_: object) -> None:
            raise OSError("the machine stops here")

        monkeypatch.setattr(Path, "replace", crash)
        with pytest.raises(OSError, match="stops here"):
            collect_rejects("f", chunks)
        assert file.read_text() == before


def test_larger_chunks_load_the_same(tmp_path: Path) -> None:
    path = days(tmp_path / "f.csv", 20)
    report = run(path, chunk_days=10)
    assert report["chunks"] <= 3
    assert report["totals"]["read"] == 60


def artifacts_of(flow_run_id: UUID | None) -> dict[str, Any]:
    """What a run left in the UI: the data of each artifact, by key; of a table, its rows."""
    assert flow_run_id
    with get_client(sync_client=True) as client:
        response = client.request(
            "POST", "/artifacts/filter", json={"artifacts": {"flow_run_id": {"any_": [str(flow_run_id)]}}}
        )
    found = {artifact["key"]: artifact["data"] for artifact in response.json()}
    return {**found, "load": json.loads(found["load"])}


def test_run_leaves_progress_and_a_table_in_the_ui(tmp_path: Path) -> None:
    state = load_flights(days(tmp_path / "f.csv", 2), return_state=True)
    artifacts = artifacts_of(state.state_details.flow_run_id)
    assert set(artifacts) == {"progress", "load"}, "nothing was resumed"
    assert artifacts["progress"] == 100
    assert [(row["chunk"], row["outcome"]) for row in artifacts["load"]] == [
        ("all", ""),
        ("2013-01-01", "done now"),
        ("2013-01-02", "done now"),
    ]
    assert artifacts["load"][0]["read"] == 6


{% if cookiecutter.cache_key != "none" or cookiecutter.checkpoint != "none" -%}
def test_run_notes_in_the_ui_what_it_found_done(tmp_path: Path) -> None:
    path = write(tmp_path / "f.csv", record(1, 1), record(2, 1, distance=-1))
    run(path)
    state = load_flights(write(path, record(1, 1), record(2, 1, distance=-1), record(3, 1)), return_state=True)
    artifacts = artifacts_of(state.state_details.flow_run_id)
    assert [(row["chunk"], row["outcome"], row["read"]) for row in artifacts["load"]] == [
        ("all", "", 1),
        ("2013-01-03", "done now", 1),
        ("2013-01-01", "found done", ""),
        ("2013-01-02", "found done", ""),
    ]
    assert "| found done, and left alone | 2 |\n| done now | 1 |" in artifacts["resumed"]
    assert f"1 bad record set aside, with line and reason: `{settings.home / 'rejects' / 'f.csv'}`" in str(artifacts)


{% endif -%}
def test_no_mark_is_left_by_runs_that_end_by_themselves(tmp_path: Path) -> None:
    run(days(tmp_path / "f.csv", 1))
    assert load_flights(tmp_path / "missing.csv", return_state=True).is_failed()
    assert dead() == []
    with alive("00000000-0000-0000-0000-000000000000"):
        assert dead() == []


def results() -> int:
    """How many results of tasks are stored."""
    return sum(not name.startswith("checkpoints") for name in store.names())


def killed_half_way(path: Path) -> None:
    """Load a source in a process of its own, and kill that when some chunks are done and others are not."""
    script = path.with_name("run.py")
    script.write_text(COMMAND_LINE)
    child = Child(script, "run", str(path))
    while child.process.is_alive() and {% if cookiecutter.checkpoint != "none" and cookiecutter.upsert == "none" %}(results() < 15 or not checkpoint("f").done()){% else %}results() < 15{% endif %}:
        time.sleep(0.005)
    child.kill()
    assert child.end()[0] == -signal.SIGKILL, "the run ended before it could be killed"


def test_killed_run_is_finished_by_a_new_one(tmp_path: Path) -> None:
    path = days(tmp_path / "f.csv", 50)
    killed_half_way(path)
    report = run(path)
{%- if cookiecutter.cache_key != "none" or cookiecutter.checkpoint != "none" %}
{%- if cookiecutter.cache_key == "none" and cookiecutter.upsert == "none" %}
    assert 1 <= report["found"] < 50, "marks follow the stored results, and may be some behind"
{%- else %}
    assert 10 <= report["found"] < 50
{%- endif %}
    assert report["done"] == 50 - report["found"]
{%- else %}
    assert report["done"] == 50
{%- endif %}
{%- if cookiecutter.upsert != "none" %}
    assert set(table()) == keys(path)
{%- endif %}


def test_killed_run_is_resumed(tmp_path: Path) -> None:
    path = days(tmp_path / "f.csv", 50)
    killed_half_way(path)
    (flow_run_id,) = dead()
    assert state_of(flow_run_id) == "Running", "Prefect does not know that the process is gone"
    wait_for_events(flow_run_id)
    reports: list[RunReport] = []
    assert resume_dead_runs(reports.append)
    assert [report["chunks"] for report in reports] == [50]
    assert reports[0]["found"] >= 10
    assert state_of(flow_run_id) == "Completed"
    deadline = time.monotonic() + TIMEOUT
    while "Running" in task_states(flow_run_id).values():
        assert time.monotonic() < deadline, "a task of the killed process is Running for ever"
        time.sleep(0.1)
    artifacts = artifacts_of(flow_run_id)
    assert artifacts["resumed"].startswith("Attempt 2 of this run of `f`")
    outcomes = [row["outcome"] for row in artifacts["load"]]
    assert (outcomes.count("found done"), outcomes.count("done now")) == (reports[0]["found"], reports[0]["done"])
    assert dead() == []
{%- if cookiecutter.upsert != "none" %}
    assert set(table()) == keys(path)
{%- endif %}


def test_resuming_crashes_the_tasks_of_a_killed_run(tmp_path: Path) -> None:
    flow_run = left_by_a_kill(days(tmp_path / "f.csv", 1))
    tasks = [begun(flow_run, Pending()), begun(flow_run, Running())]
    assert resume_dead_runs(lambda _: None)
    states = task_states(flow_run.id)
    assert [states[task.id] for task in tasks] == ["Crashed", "Crashed"]


def test_resuming_crashes_tasks_that_a_busy_server_reads_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flow_run = left_by_a_kill(days(tmp_path / "f.csv", 1))
    late, new = begun(flow_run, Running()), begun(flow_run, Running())
    of_the_new_attempt = new.model_copy(update={"flow_run_run_count": 2})
    pages = iter([[], [late, of_the_new_attempt], []])
    with monkeypatch.context() as patch:
        patch.setattr(SyncPrefectClient, "read_task_runs", lambda *_, **__: next(pages))
        assert resume_dead_runs(lambda _: None)
    states = task_states(flow_run.id)
    assert (states[late.id], states[new.id]) == ("Crashed", "Running")


def test_resuming_fails_where_one_of_the_runs_does(tmp_path: Path) -> None:
    bad = left_by_a_kill(tmp_path / "missing.csv")
    good = left_by_a_kill(days(tmp_path / "f.csv", 1))
    assert not resume_dead_runs(lambda _: None)
    assert (state_of(bad.id), state_of(good.id)) == ("Failed", "Completed")


def test_resuming_forgets_a_run_that_the_server_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    mark(uuid4())
    assert resume_dead_runs(lambda _: None)
    assert "forgotten" in capsys.readouterr().err
    assert dead() == []


def left_by_a_kill(path: Path) -> FlowRun:
    """Have a flow run that loads a source, as a killed process leaves it."""
    with get_client(sync_client=True) as client:
        flow_run = client.create_flow_run(load_flights, parameters={"source": str(path)}, state=Running())
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
    run = FlowRunFilter.model_validate({"id": {"any_": [flow_run_id]}})
    with get_client(sync_client=True) as client:
        return {task_run.id: task_run.state_name for task_run in client.read_task_runs(flow_run_filter=run)}


def wait_for_events(flow_run_id: UUID) -> None:
    """Wait until the server has read what it was sent of a run's tasks: it hears of their states by events."""
    known, now = None, task_states(flow_run_id)
    while now != known:
        time.sleep(1)
        known, now = now, task_states(flow_run_id)
