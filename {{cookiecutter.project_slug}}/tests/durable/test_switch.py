"""A change of answers: what cannot work is said before anything is touched, and conflicts are named.

A stand-in for cruft changes the project here; the template's own tests have cruft do it.
"""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from {{ cookiecutter.package_name }}.durable import runs
from {{ cookiecutter.package_name }}.durable import switch as switch_module
from {{ cookiecutter.package_name }}.durable.errors import InputError
from {{ cookiecutter.package_name }}.durable.settings import PREFIX
from {{ cookiecutter.package_name }}.durable.switch import switch

PROMPTS = {
    "project_slug": "things",
    "upsert": ["sqlite", "postgres", "duckdb", "none"],
    "checkpoint": ["database", "file"],
    "cache_key": ["inputs", "none"],
    "example": ["some", "none"],
    "_lists": ["a"],
}
CRUFT = """#!/bin/sh
for project; do :; done
cd "$project"
test -z "$FAILS" || { echo "$FAILS" >&2; exit 1; }
printf '[project]\\ndependencies = ["psycopg>=3"]\\n' > pyproject.toml
git rm --quiet old.py
echo new > new.py
if grep -q ours shared.py; then
    printf 'theirs\\n' > shared.py.rej
else
    echo theirs > shared.py
fi
"""


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=Tests", "-c", "user.email=tests@example.com", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def commit(folder: Path, files: dict[str, str]) -> str:
    """Write and commit files; return the commit."""
    for name, text in files.items():
        (folder / name).write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message=as it is")
    return git(folder, "rev-parse", "HEAD").strip()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in git that is linked to a template."""
    template, project = tmp_path / "template", tmp_path / "project"
    for folder in (template, project):
        folder.mkdir()
        git(folder, "init", "--quiet")
    made_of = commit(template, {"cookiecutter.json": json.dumps(PROMPTS)})
    answers = {name: found[0] if isinstance(found, list) else found for name, found in PROMPTS.items()}
    link = {"template": str(template), "commit": made_of, "context": {"cookiecutter": answers}, "directory": None}
    commit(
        project,
        {
            ".cruft.json": json.dumps(link),
            "pyproject.toml": '[project]\ndependencies = ["duckdb>=1"]\n',
            "old.py": "old\n",
            "shared.py": "template\n",
        },
    )
    cruft = tmp_path / "cruft"
    cruft.write_text(CRUFT)
    monkeypatch.setenv("CRUFT", f"FAILS='' sh {cruft}")
    monkeypatch.setattr(switch_module, "ROOT", project)
    monkeypatch.setattr(switch_module, "LINK", project / ".cruft.json")
    return project


def state(project: Path) -> dict[str, tuple[float, bytes]]:
    """Return time and content of each file, but of what git keeps."""
    files = [path for path in project.rglob("*") if path.is_file() and ".git" not in path.parts]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.mark.parametrize(
    ("given", "data", "said"),
    [
        ([], False, "say what to change: make switch upsert=postgres"),
        (["DRY=1", "PYTHON=python3"], False, "say what to change"),
        (["upsert="], False, "say what to change"),
        (["upsrt=postgres"], False, "no prompt 'upsrt' can be switched; did you mean upsert?"),
        (["example=none"], False, "no prompt 'example' can be switched; there are: upsert, checkpoint, cache_key"),
        (["project_slug=others"], False, "no prompt 'project_slug' can be switched"),
        (["_lists=b"], False, "no prompt '_lists' can be switched"),
        (["upsert=postgers"], False, "upsert has no answer 'postgers'; did you mean postgres?"),
        (["upsert=x"], False, "upsert has no answer 'x'; there are: sqlite, postgres, duckdb, none"),
        (["upsert=sqlite"], False, "upsert=sqlite is the answer already"),
        (["upsert=none"], True, "DATA=1 carries rows from one database to another"),
        (["cache_key=none"], True, "DATA=1 carries rows from one database to another"),
        (["upsert=postgres", "checkpoint=file"], True, "switch checkpoint before or afterwards"),
    ],
)
def test_answers_that_cannot_be_changed(project: Path, given: list[str], data: bool, said: str) -> None:
    before = state(project)
    with pytest.raises(InputError) as error:
        switch(given, dry=False, data=data)
    assert str(error.value).startswith(said) or said in str(error.value)
    assert state(project) == before


def uncommitted(project: Path) -> None:
    (project / "more.py").touch()


def unlinked(project: Path) -> None:
    (project / ".cruft.json").unlink()


def spoilt(project: Path) -> None:
    commit(project, {".cruft.json": "{}"})


def without_git(project: Path) -> None:
    (project / ".git").rename(project.parent / "git")


def without_template(project: Path) -> None:
    (project.parent / "template").rename(project.parent / "elsewhere")


def of_no_commit(project: Path) -> None:
    link = json.loads((project / ".cruft.json").read_text())
    commit(project, {".cruft.json": json.dumps(link | {"commit": "0" * 40})})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (uncommitted, "there are changes that are not committed"),
        (unlinked, "not linked to its template: .cruft.json is missing"),
        (spoilt, ".cruft.json is not as cruft writes it"),
        (without_git, "in no git repository"),
        (without_template, "cannot be had: "),
        (of_no_commit, "has no commit 0000"),
    ],
)
def test_projects_that_cannot_be_changed(project: Path, spoil: Callable[[Path], None], said: str) -> None:
    spoil(project)
    before = state(project)
    with pytest.raises(InputError, match=said) as error:
        switch(["upsert=postgres"], dry=False, data=False)
    assert "\n" not in str(error.value)
    assert state(project) == before


def test_no_run_meets_two_answers(project: Path, home: Path) -> None:
    flow_run_id = uuid4()
    with runs.alive(flow_run_id, "load-toys"):
        assert runs.at_work() == [flow_run_id]
        with pytest.raises(InputError, match=f"flow run {flow_run_id} is at work"):
            switch(["upsert=postgres"], dry=False, data=False)
    assert runs.at_work() == runs.dead() == []
    marker = home / "runs" / f"{flow_run_id}.run"
    marker.write_text("load-toys")
    assert runs.at_work() == []
    with pytest.raises(InputError, match=f"flow run {flow_run_id} of load-toys was killed.*make resume"):
        switch(["upsert=postgres"], dry=False, data=False)
    assert git(project, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (f"No project was made:{os.linesep}  - a: b\n  - c\nThis would work:\n  - d", "a: b\nc"),
        ("Traceback:\n  line\nValueError: no network", "cruft failed: ValueError: no network"),
    ],
)
def test_refusals_of_the_template_are_told(
    project: Path, monkeypatch: pytest.MonkeyPatch, output: str, said: str
) -> None:
    monkeypatch.setenv("CRUFT", os.environ["CRUFT"].replace("''", f"'{output}'"))
    with pytest.raises(InputError) as error:
        switch(["upsert=postgres"], dry=False, data=False)
    assert str(error.value) == said
    assert git(project, "status", "--porcelain") == ""


def test_dry_run_touches_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = state(project)
    assert switch(["upsert=postgres", "DRY=1"], dry=True, data=False) == 0
    assert state(project) == before
    assert git(project, "status", "--porcelain") == ""
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "upsert: sqlite -> postgres"
    assert out[1:5] == ["added   new.py", "removed old.py", "changed pyproject.toml", "changed shared.py"]
    assert "4 files changed" in out[5]
    assert out[6] == "packages: +psycopg>=3 -duckdb>=1"
    assert out[-1] == "nothing was changed; to do it: make switch upsert=postgres"


def test_files_are_changed_and_nothing_is_committed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = git(project, "rev-parse", "HEAD")
    assert switch(["cache_key=none"], dry=False, data=False) == 0
    assert git(project, "rev-parse", "HEAD") == before
    assert not (project / "old.py").exists()
    assert (project / "shared.py").read_text() == "theirs\n"
    assert "make setup test" in capsys.readouterr().out


def test_conflicts_are_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commit(project, {"shared.py": "ours\n"})
    assert switch(["upsert=postgres"], dry=True, data=False) == 0
    assert "would conflict with your edits: shared.py.rej" in capsys.readouterr().out
    assert switch(["upsert=postgres"], dry=False, data=False) == 1
    out = capsys.readouterr().out
    assert "conflict: shared.py.rej: put its lines into shared.py by hand" in out
    assert "settle the conflicts" in out


def test_url_of_the_old_database_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(switch_module, "env_variables", lambda: {f"{PREFIX}DATABASE_URL": "sqlite:///here.db"})
    switch(["upsert=postgres"], dry=True, data=False)
    assert f"{PREFIX}DATABASE_URL in .env names the old database" in capsys.readouterr().out


def test_cruft_comes_from_make(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CRUFT")
    with pytest.raises(InputError, match="make switch"):
        switch(["upsert=postgres"], dry=False, data=False)
