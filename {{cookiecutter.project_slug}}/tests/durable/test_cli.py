"""The command line: what it says, its exit codes, and what it leaves behind."""

import importlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from prefect import flow, get_client
from prefect.client.schemas.filters import FlowRunFilter, LogFilter
from prefect.settings import PREFECT_API_URL, temporary_settings
from sqlalchemy import text

from {{ cookiecutter.package_name }}.durable import cli, discovery, results, upserts
from {{ cookiecutter.package_name }}.durable.cache_keys import ACROSS_RUNS
from {{ cookiecutter.package_name }}.durable.checkpoints import IN_STORE, REMEMBERS
from {{ cookiecutter.package_name }}.durable.chunks import RESUMES
from {{ cookiecutter.package_name }}.durable.cli import main
from {{ cookiecutter.package_name }}.durable.runs import dead
from {{ cookiecutter.package_name }}.durable.server import drain
from {{ cookiecutter.package_name }}.durable.settings import PACKAGE, PREFIX, ROOT, settings

from tests.support import sink, toy, toys
from tests.support.toys import FLOW, chunks, fail, write

SKIPS = REMEMBERS or ACROSS_RUNS
"""Whether a new run skips what an earlier one has done."""


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command line in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["project", *arguments])
    with pytest.raises(SystemExit) as exit_:
        main()
    return int(exit_.value.code or 0)


@pytest.mark.parametrize("kind", ["missing", "a folder", "not UTF-8"])
def test_unusable_source_is_one_line_exit_code_2_and_nothing_written(
    kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "source.txt"
    if kind == "a folder":
        path.mkdir()
    elif kind == "not UTF-8":
        path.write_bytes(b"a caf\xe9 1\n")
    settings.home.rmdir()
    assert call(monkeypatch, "run", FLOW, str(path)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert f"{path}: cannot be read" in err
    assert not settings.home.exists()
    settings.home.mkdir()


def test_python_without_the_packages_is_told_so_in_one_line() -> None:
    # With these options Python sees neither what is installed nor PYTHONPATH.
    command = [sys.executable, "-S", "-E", "-m", PACKAGE, "status"]
    done = subprocess.run(command, cwd=ROOT / "src", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"the package \w+ is missing; install .+ make setup; .+\n", done.stderr)


@pytest.mark.parametrize("command", ["setup", "check-server", "check-prefect-yaml", "alembic"])
@pytest.mark.parametrize("place", ["of the project", "of the current folder", "a wrong setting"])
def test_what_prefect_could_not_read_is_one_line(command: str, place: str, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    folder = ROOT
    if place == "a wrong setting":
        environment["PREFECT_SERVER_API_PORT"] = "x"
    else:
        file.write_bytes(b"# caf\xe9\n")
    if place == "of the project":
        environment[f"{PREFIX}ENV_FILE"] = str(file)
    elif place == "of the current folder":
        folder = tmp_path
    if command == "alembic":
        if not (ROOT / "migrations").exists() or place != "of the project":
            pytest.skip("no migrations, or Prefect has said so before Alembic could")
        arguments = ["alembic", "current"]
    else:
        arguments = [PACKAGE, command]
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    *others, last = done.stderr.splitlines()
    if place == "a wrong setting":
        assert last.startswith("Prefect refuses PREFECT_SERVER_API_PORT=x: Input should be a valid integer")
    else:
        assert last == f"{file}: not UTF-8; save it as UTF-8"
    assert others == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PREFECT_API_REQUEST_TIMEOUT", "abc", "PREFECT_API_REQUEST_TIMEOUT=abc: Input should be a valid number"),
        ("PREFECT_LOGGING_LEVEL", "LOUD", "PREFECT_LOGGING_LEVEL=LOUD: Input should be 'DEBUG', 'INFO'"),
        ("PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED", "no!", "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED=no!: Input"),
        # The value may be secret.
        ("PREFECT_CLIENT_CUSTOM_HEADERS", '{"a": ["secret"]}', "PREFECT_CLIENT_CUSTOM_HEADERS: Input should be"),
        ("PREFECT_CLIENT_CUSTOM_HEADERS", "secret", "PREFECT_CLIENT_CUSTOM_HEADERS: it must be JSON"),
    ],
)
def test_wrong_setting_of_prefect_is_one_line(name: str, value: str, said: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), name: value}
    for command, code in (("setup", 2), ("doctor", 1)):
        arguments = [sys.executable, "-m", PACKAGE, command]
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert said in (done.stderr if code == 2 else done.stdout)
        assert len(done.stderr.splitlines()) == code - 1
        assert "secret" not in done.stderr + done.stdout


def test_reader_of_the_output_may_end_first() -> None:
    read, write = os.pipe()
    os.close(read)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", PACKAGE, "status"]
    done = subprocess.run(command, env=environment, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_wrong_setting_is_a_finding_of_the_doctor() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), f"{PREFIX}WORKERS": "many"}
    command = [sys.executable, "-m", PACKAGE, "doctor"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    first, second = done.stdout.splitlines()
    assert first.startswith(f"wrong settings: {PREFIX}WORKERS: ")
    assert first.endswith("; correct it in `.env` or the environment")
    assert second == "-     everything else: not checked: see settings"
    assert (done.returncode, done.stderr) == (1, "")


def test_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, f"{PACKAGE}.durable.doctor", None)
    monkeypatch.setitem(sys.modules, "packaging.requirements", None)
    monkeypatch.delitem(sys.modules, f"{PACKAGE}.durable.doctor")
    assert call(monkeypatch, "doctor") == 2
    how = "install what pyproject.toml says: rm .venv/.ready, and make setup"
    assert capsys.readouterr().err == f"the package packaging.requirements is missing; {how}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", FLOW, "a", "--times", "0"], "times: Input should be greater than 0"),
        (["run", FLOW, "a", "--times", "x"], "Invalid value"),
        (["run", FLOW], "requires an argument"),
        (["run", FLOW, "a", "--nonsense"], "Unknown option"),
        (["nonsense"], "Unknown command"),
    ],
)
def test_wrong_arguments_are_refused(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, *arguments) == 2
    assert message in capsys.readouterr().err
    assert not list(settings.home.iterdir())


@pytest.mark.usefixtures("api")
def test_job_that_is_no_name_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = chunks(tmp_path / "f.txt", 1)
    assert call(monkeypatch, "run", FLOW, str(path), "--job", "../escape") == 2
    assert "cannot be the name of a job" in capsys.readouterr().err


def test_each_flow_is_a_command_with_its_parameters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["project", "run", FLOW, "--help"])
    with pytest.raises(SystemExit):
        main()
    out = " ".join(capsys.readouterr().out.split())
    for part in ("Load toys.", "--source", "A file of toys.", "--times", "--verbose"):
        assert part in out


def test_two_flows_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def other() -> None: ...

    other.__module__ = toys.__name__
    monkeypatch.setattr(toys, "other", flow(name=FLOW)(other), raising=False)
    monkeypatch.setattr(discovery, "PACKAGES", [toys.__name__, toy.__name__])
    assert call(monkeypatch, "run") == 2
    assert capsys.readouterr().err == f"two flows are called {FLOW}, in {toys.__name__} and {toy.__name__}\n"


def test_of_several_flows_one_has_to_be_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(toys, "other", flow(name="load-others")(lambda: None), raising=False)
    monkeypatch.setattr(toys.other.fn, "__module__", toys.__name__)  # type: ignore[attr-defined]
    monkeypatch.setattr(discovery, "PACKAGES", [toys.__name__, toy.__name__])
    assert call(monkeypatch, "run") == 2, "nothing is run, which is no success"
    assert capsys.readouterr().err.endswith(f"FLOW=load-others`: load-others, {FLOW}\n")


def test_flow_that_is_not_there_is_not_taken_for_a_parameter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(discovery, "PACKAGES", [toy.__name__])
    assert call(monkeypatch, "run", "load-toy") == 2
    said = f"there is no flow 'load-toy'; there are: {FLOW}. Give parameters after its name\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def (", "2: SyntaxError: "),
        ("import nowhere", "2: ModuleNotFoundError: No module named 'nowhere'"),
        ("1 / 0", "2: ZeroDivisionError: division by zero"),
        # Of what `durable` refuses, the line that has asked for it.
        (
            "from {{ cookiecutter.package_name }}.durable import durable_flow as make; make(name='No')(print)",
            "2: ValueError: 'No' cannot be the name of a flow",
        ),
        pytest.param(
            "import sqlalchemy as sa; from {{ cookiecutter.package_name }}.durable import metadata as there;"
            " sa.Table('toys', there, sa.Column('id', sa.Integer))",
            "2: InvalidRequestError: Table 'toys' is already defined for this MetaData instance. Another flow has",
            marks=pytest.mark.skipif(not upserts.WRITES, reason="no database"),
        ),
    ],
)
def test_flow_that_cannot_be_imported_is_one_line_with_its_place(
    text: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = ROOT / "src" / f"broken_{os.getpid()}_{text.split()[0]}.py"
    module.write_text(f'"""A flow."""\n{text}\n')
    try:
        importlib.invalidate_caches()
        monkeypatch.setattr(discovery, "PACKAGES", [module.stem])
        assert call(monkeypatch, "reset", "load-a/a") == 2
    finally:
        module.unlink()
    err = capsys.readouterr().err
    assert err.startswith(f"src/{module.name}:{said}")
    assert err.count("\n") == 1


@pytest.mark.usefixtures("api")
def test_error_of_a_flow_is_one_line_with_its_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def read(path: Path) -> list[toys.Toys]:
        raise KeyError("price")

    monkeypatch.setattr(toy, "read", read)
    assert call(monkeypatch, "run", FLOW, str(tmp_path)) == 1
    failed, page = capsys.readouterr().err.splitlines()
    assert failed == f"KeyError: 'price' (tests/durable/test_cli.py:{read.__code__.co_firstlineno + 1})"
    assert page.startswith("this run: http")


def test_request_that_fails_is_told_with_its_server_and_no_secret() -> None:
    request = httpx.Request("GET", "http://user:secret@localhost:1/secret?key=secret")
    error = httpx.ConnectError("refused", request=request)
    assert discovery.told(error) == "ConnectError: refused (http://localhost:1)"
    for other in (None, httpx.Request("GET", "localhost/secret")):
        assert discovery.told(httpx.ConnectError("refused", request=other)) == "ConnectError: refused"


def test_project_without_a_flow_says_how_to_write_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(discovery, "PACKAGES", [])
    assert call(monkeypatch, "run") == 2
    assert "make flow NAME=orders" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["", "Orders", "a--b", "load-a", "class", "a" * 31, "epochs" if upserts.WRITES else "match"]
)
def test_name_that_a_flow_cannot_have_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {*ROOT.glob("src/*/flows/*"), *ROOT.glob("tests/flows/*"), *ROOT.glob("data/*")}
    assert call(monkeypatch, "flow", name) == 2
    assert capsys.readouterr().err.startswith("no flow was written: ")
    assert {*ROOT.glob("src/*/flows/*"), *ROOT.glob("tests/flows/*"), *ROOT.glob("data/*")} == before


def test_misspelt_setting_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    discovery.flows()
    upserts.prepare()
    monkeypatch.setenv("{{ cookiecutter.package_name | upper }}_WORKERZ", "3")
    assert call(monkeypatch, "status") == 2
    name = "{{ cookiecutter.package_name | upper }}_WORKER"
    assert capsys.readouterr().err == f"there is no setting {name}Z; did you mean {name}S?\n"


@pytest.mark.usefixtures("api")
def test_setup_may_be_repeated(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "setup") == call(monkeypatch, "setup") == 0
    out = capsys.readouterr().out
    assert "results are kept in " in out
    assert ("tables are ready in " in out) is upserts.WRITES


def test_run_says_what_it_skipped_and_did(
    api: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = chunks(tmp_path / "some.txt", 3)
    with path.open("a") as file:
        file.write("nonsense\n")
    assert call(monkeypatch, "run", FLOW, str(path)) == 0
    out, err = capsys.readouterr()
    assert f"{FLOW}/some: 4 chunks, 0 skipped, 4 done" in out
    assert "10 read, 1 rejected" in out
    file_of = settings.home / "rejects" / FLOW / "some.csv"
    assert f"1 rejected record, with line and reason: {file_of}\ncorrect" in out
    assert out.splitlines()[-1].startswith(f"this run: {api.removesuffix('/api')}/runs/flow-run/")
    assert err == "", "no bar where there is no terminal, and no log"
    again = (4, 0) if SKIPS else (0, 4)
    assert call(monkeypatch, "run", FLOW, str(path)) == 0
    assert f"{FLOW}/some: 4 chunks, {again[0]} skipped, {again[1]} done" in capsys.readouterr().out


def test_rejects_that_a_high_water_mark_has_passed_are_told_how_to_load(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @flow
    def load(backfill: object = None) -> None:
        pass

    monkeypatch.setattr(cli, "_flows", lambda: {"load-some": load})
    for name in ("load-some", "load-other"):
        report = {"job": f"{name}/job", "chunks": 1, "skipped": 0, "done": 1, "totals": {}, "effects": {}}
        cli._show(report | {"rejected": 1, "rejects_file": "job.csv"})
    assert capsys.readouterr().out.count("make backfill FLOW=load-some SINCE=") == int(RESUMES)


@pytest.mark.usefixtures("api")
def test_status_and_reset_know_each_job(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = chunks(tmp_path / "some.txt", 3)
    assert call(monkeypatch, "run", FLOW, str(path)) == 0
    capsys.readouterr()
    assert call(monkeypatch, "status") == 0
    shown = f"{FLOW}/some: 3 of 3 chunks done\n" if REMEMBERS else ""
    assert capsys.readouterr().out == f"{shown}no run was killed\n"
    assert call(monkeypatch, "reset", f"{FLOW}/some") == (0 if REMEMBERS else 2)
    capsys.readouterr()
    assert call(monkeypatch, "status") == 0
    assert capsys.readouterr().out == "no run was killed\n"
    assert call(monkeypatch, "run", FLOW, str(path)) == 0
    # Without a database, stored results still count.
    cached = ACROSS_RUNS and not (REMEMBERS and upserts.WRITES)
    assert f"{FLOW}/some: 3 chunks, {3 if cached else 0} skipped" in capsys.readouterr().out


@pytest.mark.skipif(IN_STORE or not REMEMBERS, reason="no checkpoints, or they are in the store of results")
def test_status_waits_for_no_import_of_prefect() -> None:
    upserts.prepare()
    sink.release()
    program = f"import sys; from {PACKAGE}.durable.cli import status; status(); print('prefect' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert (done.stderr, done.stdout.splitlines()[-1]) == ("", "False")


@pytest.mark.usefixtures("api")
@pytest.mark.skipif(not REMEMBERS, reason="no checkpoints")
def test_status_counts_no_chunk_that_the_source_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = chunks(tmp_path / "some.txt", 3)
    fail(path, "03")
    assert call(monkeypatch, "run", FLOW, str(path)) == 1
    capsys.readouterr()
    assert call(monkeypatch, "status") == 0
    assert f"{FLOW}/some: 2 of 3 chunks done\n" in capsys.readouterr().out
    assert call(monkeypatch, "run", FLOW, str(chunks(path, 2))) == 0
    capsys.readouterr()
    assert call(monkeypatch, "status") == 0
    assert f"{FLOW}/some: 2 of 2 chunks done\n" in capsys.readouterr().out


@pytest.mark.usefixtures("api")
def test_job_that_is_not_known_cannot_be_reset(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "reset", "nonsense") == 2
    assert capsys.readouterr().err == "nothing is known of a job 'nonsense'; `make status` shows those that there are\n"


def test_reset_forgets_the_killed_runs_of_a_flow_that_is_gone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = settings.home / "runs"
    folder.mkdir(parents=True)
    for name in (FLOW, "load-gone"):
        (folder / f"{uuid4()}.run").write_text(name)
    assert call(monkeypatch, "reset", "load-gone/orders") == 0
    assert capsys.readouterr().out == "load-gone/orders is forgotten, for its flow is gone\n"
    call(monkeypatch, "reset", f"{FLOW}/orders")
    assert [run.flow for run in dead()] == [FLOW], "make resume resumes it"


@pytest.mark.usefixtures("api")
def test_failed_chunk_is_exit_code_1_and_the_others_are_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = chunks(tmp_path / "week.txt", 3)
    with path.open("a", encoding="utf-8") as lines:
        lines.write("03 nonsense\n")
    file = fail(path, "02")
    assert call(monkeypatch, "run", FLOW, str(path)) == 1
    failed, rejected, page = capsys.readouterr().err.splitlines()
    error = r"ValueError: bad luck \(tests/support/toys\.py:\d+\)"
    assert re.match(rf"1 of 3 chunks failed, the first, [\w-]+, with: {error}\. The others are done\. ", failed)
    assert rejected == f"1 rejected record, with line and reason: {settings.home / 'rejects' / FLOW / 'week.csv'}"
    assert page.startswith("this run: http")
    file.unlink()
    assert call(monkeypatch, "run", FLOW, str(path)) == 0
    again = (2, 1) if SKIPS else (0, 3)
    assert f"{FLOW}/week: 3 chunks, {again[0]} skipped, {again[1]} done" in capsys.readouterr().out


@pytest.mark.usefixtures("api")
@pytest.mark.skipif(not upserts.WRITES, reason="no database")
def test_database_error_tells_no_row_in_the_terminal_or_in_prefect(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    discovery.flows()
    upserts.prepare()
    with upserts.transaction() as connection:
        connection.execute(text("CREATE UNIQUE INDEX one_number ON toys (number)"))  # type: ignore[attr-defined, unused-ignore]
    path = write(tmp_path / "week.txt", "01 toy-1 739190739", "02 toy-2 739190739")
    assert call(monkeypatch, "run", FLOW, str(path)) == 1
    failed, page = capsys.readouterr().err.splitlines()
    assert re.match(r"1 of 2 chunks failed, the first, [\w-]+, with: IntegrityError: \([\w.]+\) .*(?i:unique)", failed)
    drain()
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(UUID(page.rpartition("/")[2]))
        ours = FlowRunFilter.model_validate({"id": {"any_": [run.id]}})
        logs = client.read_logs(LogFilter.model_validate({"flow_run_id": {"any_": [run.id]}}))
        said: list[object] = [failed, run.state, *logs]
        said += [*client.read_task_runs(flow_run_filter=ours), *client.read_artifacts(flow_run_filter=ours)]
    assert [each for each in said if "739190739" in str(each) or "INSERT" in str(each)] == []
    assert len(said) > 4


@pytest.mark.usefixtures("api")
def test_nothing_to_resume_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert call(monkeypatch, "run", FLOW, str(write(tmp_path / "none.txt"))) == 0
    assert call(monkeypatch, "resume") == 0
    assert "Nothing to resume" in capsys.readouterr().out


@pytest.mark.usefixtures("api")
def test_run_with_nothing_left_needs_no_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = chunks(tmp_path / "some.txt", 3)
    assert call(monkeypatch, "run", FLOW, str(path)) == 0
    monkeypatch.setattr("{{ cookiecutter.package_name }}.durable.server.START_TIMEOUT", 0)
    capsys.readouterr()
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        code = call(monkeypatch, "run", FLOW, str(path))
    out, err = capsys.readouterr()
    if REMEMBERS and not (IN_STORE and results.NEEDS_SERVER):
        assert code == 0
        first, redo, last = out.splitlines()
        assert (first, last) == (
            f"{FLOW}/some: 3 chunks, 3 skipped, 0 done",
            "nothing is left to do; no run was started",
        )
        assert redo.startswith("all chunks are done already; to load them again: make reset JOB=")
    else:
        assert (code, err.count("\n")) == (2, 1), "it asks for a server"


def test_run_of_bad_records_alone_fails_each_time(
    api: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = write(tmp_path / "some.txt", "a nonsense", "b nonsense")
    for _ in range(2):
        assert call(monkeypatch, "run", FLOW, str(path)) == 1
        said, todo, page = capsys.readouterr().err.splitlines()
        file = settings.home / "rejects" / FLOW / "some.csv"
        assert said == f"all 2 records were rejected, with line and reason: {file}"
        assert todo.startswith("correct the source and run again; a run fails if all of its job's records are rejected")
        assert page.startswith(f"this run: {api.removesuffix('/api')}")


def test_file_name_that_is_not_utf8_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = chunks(Path(f"{tmp_path}/caf\udce9.txt"), 1)
    assert call(monkeypatch, "run", FLOW, str(path)) == 2
    assert capsys.readouterr().err == f"source: {str(path)!a} is not UTF-8; rename the file\n"


def test_unreachable_server_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert call(monkeypatch, "run", FLOW, str(chunks(tmp_path / "f.txt", 1))) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "no Prefect server answers at PREFECT_API_URL=http://127.0.0.1:9/api" in err
