"""The command line: what it says, its exit codes, and what it leaves behind."""

import sys
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.__main__ import main
from {{ cookiecutter.package_name }}.flights import Chunk, check
from {{ cookiecutter.package_name }}.settings import settings

from source import BROKEN, broken, days, write


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command line in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["flights", *arguments])
    with pytest.raises(SystemExit) as exit_:
        main()
    return int(exit_.value.code or 0)


@pytest.mark.parametrize("kind", BROKEN)
def test_unusable_source_is_one_line_exit_code_2_and_nothing_written(
    kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = broken(tmp_path / "source", kind)
    settings.home.rmdir()
    assert call(monkeypatch, "run", str(path)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert BROKEN[kind] in err
    assert not settings.home.exists()
    settings.home.mkdir()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--chunk-days", "0"], "--chunk-days must be at least 1"),
        (["run", "--chunk-days", "x"], "Invalid value"),
        (["run", "--job", "../escape"], "cannot be a job's name"),
        (["run", "--nonsense"], "Unknown option"),
        (["nonsense"], "Unknown command"),
    ],
)
def test_wrong_arguments_are_refused(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, *arguments) == 2
    assert message in capsys.readouterr().err
    assert not list(settings.home.iterdir())


{% if cookiecutter.result_storage != "local" -%}
@pytest.mark.usefixtures("api")
{% endif -%}
def test_setup_may_be_repeated(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "setup") == call(monkeypatch, "setup") == 0
    assert "results are kept in " in capsys.readouterr().out


def test_run_says_what_it_found_and_did(
    api: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = days(tmp_path / "days.csv", 3)
    with path.open("a") as file:
        file.write("nonsense\n")
    assert call(monkeypatch, "run", str(path)) == 0
    out, err = capsys.readouterr()
    assert "days: 4 chunks, 0 found done, 4 done now" in out
    assert "10 read, 1 rejected" in out
    assert f"1 bad record set aside, with line and reason: {settings.home / 'rejects' / 'days.csv'}\ncorrect" in out
    assert out.splitlines()[-1].startswith(f"this run: {api.removesuffix('/api')}/runs/flow-run/")
    assert err == "", "no bar where there is no terminal, and no log"
{%- if cookiecutter.cache_key != "none" or cookiecutter.checkpoint != "none" %}
    assert call(monkeypatch, "run", str(path)) == 0
    assert "days: 4 chunks, 4 found done, 0 done now" in capsys.readouterr().out
{%- endif %}
{%- if cookiecutter.checkpoint != "none" %}
    assert call(monkeypatch, "status") == 0
    assert capsys.readouterr().out == "days: 4 of 4 chunks done\nno run was killed\n"
    assert call(monkeypatch, "reset", "days") == 0
    assert call(monkeypatch, "status") == 0
    assert capsys.readouterr().out == "days is forgotten; the next run does it again\nno run was killed\n"
    assert call(monkeypatch, "run", str(path)) == 0
{%- if cookiecutter.upsert == "none" and cookiecutter.cache_key != "none" %}
    assert "days: 4 chunks, 4 found done, 0 done now" in capsys.readouterr().out, "stored results still count"
{%- else %}
    assert "days: 4 chunks, 0 found done, 4 done now" in capsys.readouterr().out
{%- endif %}


@pytest.mark.usefixtures("api")
def test_job_that_is_not_known_cannot_be_reset(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "reset", "nonsense") == 2
    assert capsys.readouterr().err == "nothing is known of a job 'nonsense'; `make status` shows those that there are\n"
{%- endif %}


@pytest.mark.usefixtures("api")
def test_failed_chunk_is_exit_code_1_and_the_others_are_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from {{ cookiecutter.package_name }} import flows

    def fail_once(chunk: Chunk) -> object:
        if chunk.label == "2013-01-02":
            raise ValueError("bad luck")
        return check(chunk)

    path = days(tmp_path / "week.csv", 3)
    with monkeypatch.context() as patch:
        patch.setattr(flows, "check", fail_once)
        assert call(monkeypatch, "run", str(path)) == 1
    failed, page = capsys.readouterr().err.splitlines()
    assert failed.startswith("1 of 3 chunks failed, the first with: bad luck. The others are done; ")
    assert page.startswith("this run: http")
    assert call(monkeypatch, "run", str(path)) == 0
{%- if cookiecutter.cache_key != "none" or cookiecutter.checkpoint != "none" %}
    assert "week: 3 chunks, 2 found done, 1 done now" in capsys.readouterr().out
{%- else %}
    assert "week: 3 chunks, 0 found done, 3 done now" in capsys.readouterr().out
{%- endif %}


@pytest.mark.usefixtures("api")
def test_nothing_to_resume_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert call(monkeypatch, "run", str(write(tmp_path / "none.csv"))) == 0
    assert call(monkeypatch, "resume") == 0
    assert "Nothing to resume" in capsys.readouterr().out


def test_unreachable_server_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert call(monkeypatch, "run") == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "no Prefect server answers at PREFECT_API_URL=http://127.0.0.1:9/api" in err
