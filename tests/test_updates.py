"""A project of any released version follows the template: `cruft update` makes of it what is made now, its owner's
edits are kept, and `make update-check` tells when there is something to follow. The commands are those of
`docs/updating.md`.
"""

import functools
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import history
import pytest
from conftest import Bake
from history import RELEASED, git
from projects import cruft, snapshot
from variants import CORE, ROOT, Answers, Options, name, typed

Create = Callable[..., Path]

PAGE = (ROOT / "docs" / "updating.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```console\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
"""The commands that it shows, in its order."""

TESTS_TIMEOUT = 300.0
"""Seconds for some tests of a project."""


def spread(version: str) -> list[Answers]:
    """Return variants with every pair of answers to the core prompts that the version had; the others take turns."""
    choices = RELEASED[version]["choices"]
    core = {prompt: choices[prompt] for prompt in CORE if prompt in choices}
    others = {prompt: answers for prompt, answers in choices.items() if prompt not in core}
    return [
        {**variant, **{prompt: answers[turn % len(answers)] for prompt, answers in others.items()}}
        for turn, variant in enumerate(Options(core, RELEASED[version]["refused"], CORE).pairwise())
    ]


VARIANTS = [(version, answers) for version in RELEASED for answers in spread(version)]
each_version = pytest.mark.parametrize("version", RELEASED)
each_project = pytest.mark.parametrize(
    ("version", "answers"), [pytest.param(*variant, id=f"{variant[0]}+{name(variant[1])}") for variant in VARIANTS]
)


@pytest.fixture(scope="module")
def created(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Make a project with cruft, in a git repository of its own; once, to be copied."""

    @functools.cache
    def created(commit_or_tag: str, given: str) -> Path:
        output = tmp_path_factory.mktemp("created")
        options = ["--no-input", "--extra-context", given, "--output-dir", output]
        cruft("create", repository, "--checkout", commit_or_tag, *options)
        (project,) = output.iterdir()
        git(project, "init", "--quiet")
        commit(project)
        return project

    return created


@pytest.fixture
def create(created: Callable[[str, str], Path], copy: Callable[[Path], Path]) -> Create:
    """Make a project of a version, or of the template as it is: `main`."""

    def create(version: str, answers: Answers) -> Path:
        if reason := version in RELEASED and history.missing(version):
            pytest.skip(reason)
        return copy(created(version, json.dumps(typed(answers))))

    return create


def commit(project: Path) -> None:
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message=as it is")


def update(project: Path) -> None:
    cruft("update", "--skip-apply-ask", "--project-dir", project)


def conflicts(project: Path) -> list[str]:
    """Return the files that an update has left for its owner to settle: cruft itself says that all is well."""
    unmerged = git(project, "diff", "--name-only", "--diff-filter=U").split()
    rejected = [path.name for path in project.rglob("*.rej")]
    marked = history.run(project, "grep", "--name-only", "-E", "^(<{7}|>{7}) ").stdout.decode().split()
    return sorted({*unmerged, *rejected, *marked})


# Projects as they were made


@each_project
def test_an_untouched_project_becomes_what_is_made_now(
    create: Create, bake: Bake, repository: Path, version: str, answers: Answers
) -> None:
    project = create(version, answers)
    update(project)
    assert snapshot(project) == snapshot(bake(**answers))
    linked = json.loads((project / ".cruft.json").read_text(encoding="utf-8"))
    assert linked["commit"] == git(repository, "rev-parse", "HEAD").strip()
    assert answers.items() <= linked["context"]["cookiecutter"].items()


@each_version
def test_an_answer_with_braces_is_written_as_jinja_before_an_update(create: Create, bake: Bake, version: str) -> None:
    answers = {"description": '{{ 7*7 }} {% off "quoted" \\'}
    project = create(version, answers)
    linked = project / ".cruft.json"
    state = json.loads(linked.read_text(encoding="utf-8"))
    state["context"]["cookiecutter"] |= typed(answers)
    linked.write_text(json.dumps(state), encoding="utf-8")
    commit(project)
    update(project)
    assert snapshot(project) == snapshot(bake(**answers))


# Projects that their owners have changed


def instead(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new, 1)


def before(mark: str, new: str) -> Callable[[str], str]:
    return instead(mark, new + mark)


def after(mark: str, new: str) -> Callable[[str], str]:
    return instead(mark, mark + new)


def at_the_end(new: str) -> Callable[[str], str]:
    return lambda text: text + new


TABLE = """
airports = Table(
    "airports",
    metadata,
    Column("faa", String(3), primary_key=True),
    Column("name", String, nullable=False),
)
"""
FLOW = '''

@durable_task(version="1")
def read_airports(path: Path) -> int:
    """Count the airports of a file."""
    return len(path.read_text(encoding="utf-8").splitlines())


@flow(name="airports", task_runner=task_runner())
def load_airports(path: Path) -> int:
    """Load a file of airports."""
    return read_airports(path)
'''
OWN_TEST = '''"""The airports."""

from durable_flights.flows import read_airports
from durable_flights.settings import Settings


def test_settings() -> None:
    assert Settings().airports == "airports.csv"
    assert Settings().workers == 8


def test_airports_are_a_task() -> None:
    assert read_airports.version == "1"
'''
OWN_TABLE_TEST = """

def test_airports_are_kept() -> None:
    create(database())
    with database().begin() as connection:
        assert upsert(connection, airports, [{"faa": "JFK", "name": "Kennedy"}]).inserted == 1
"""
OWN_TABLE_IMPORTS = """from durable_flights.tables import airports, create
from durable_flights.upsert import database, upsert
"""
MIGRATION = """import sqlalchemy as sa
from alembic import op

revision = "airports"
down_revision = None


def upgrade() -> None:
    op.create_table("airports", sa.Column("faa", sa.String(3), primary_key=True), sa.Column("name", sa.String))
"""
PACKAGE = "src/durable_flights"
EDITS: list[tuple[str, Callable[[str], str]]] = [
    (f"{PACKAGE}/tables.py", before("\n\ndef create(", TABLE)),
    (f"{PACKAGE}/settings.py", before("\n    @", '    airports: str = "airports.csv"\n    """A file."""\n')),
    (f"{PACKAGE}/settings.py", instead("workers: int = Field(default=2", "workers: int = Field(default=8")),
    (f"{PACKAGE}/flows.py", instead('@durable_task(version="1")', '@durable_task(version="2")')),
    (f"{PACKAGE}/flows.py", at_the_end(FLOW)),
    ("README.md", instead("Loads flights so that", "Loads our flights so that")),
    ("README.md", after("on this machine, until stopped |\n", "| `make airports` | loads the airports |\n")),
    ("README.md", at_the_end("\n## On call\n\nAsk us.\n")),
    ("pyproject.toml", instead('version = "0.1.0"', 'version = "2.0.0"')),
    ("pyproject.toml", after('    "uvicorn>=0.34,<1",\n', '    "xlsxwriter>=3,<4",\n')),
    ("Makefile", at_the_end("\n.PHONY: airports\nairports: .venv/.ready ## load the airports\n\t@$(BIN)/airports\n")),
    (".env.example", at_the_end("# The file of airports.\n#DURABLE_FLIGHTS_AIRPORTS=airports.csv\n")),
    (".gitignore", at_the_end("*.xlsx\n")),
]  # fmt: skip


def edit(project: Path) -> None:
    """Change a project as owners do: in the files that the template made too, and in files of their own."""
    for path, change in EDITS:
        if (project / path).exists():
            text = (project / path).read_text(encoding="utf-8")
            assert change(text) != text, f"the edit of {path} finds no place"
            (project / path).write_text(change(text), encoding="utf-8")
    test = OWN_TEST
    if (project / PACKAGE / "tables.py").exists():
        test = test.replace("\n\n\ndef", f"\n{OWN_TABLE_IMPORTS}\n\ndef", 1) + OWN_TABLE_TEST
    (project / "tests" / "test_airports.py").write_text(test, encoding="utf-8")


@each_project
def test_an_owners_edits_are_kept(create: Create, bake: Bake, version: str, answers: Answers) -> None:
    project = create(version, answers)
    edit(project)
    commit(project)
    update(project)
    assert conflicts(project) == []
    # As if its owner had made the project now.
    fresh = bake(**answers)
    edit(fresh)
    assert snapshot(project) == snapshot(fresh)


@each_version
def test_an_edited_project_passes_its_tests(create: Create, environment: dict[str, str], version: str) -> None:
    project = create(version, {})
    edit(project)
    commit(project)
    update(project)
    (project / "migrations" / "versions" / "airports.py").write_text(MIGRATION)
    parts = ("airports", "conventions", "flights", "migrations", "settings", "steps", "upsert")
    tests = [f"tests/test_{part}.py" for part in parts]
    checks = [["ruff", "check", "--no-cache"], ["ruff", "format", "--no-cache", "--check"], ["pytest", "-q", *tests]]
    for check in checks:
        done = subprocess.run(
            [sys.executable, "-m", *check],
            cwd=project,
            # No server is asked for by these tests, and none is to be started.
            env={**environment, "PYTHONPATH": str(project / "src"), "PREFECT_API_URL": "http://127.0.0.1:9/api"},
            capture_output=True,
            text=True,
            timeout=TESTS_TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    assert re.search(r"^\d{2,} passed in", done.stdout, re.MULTILINE)


@each_version
def test_what_the_owner_removed_or_rewrote_is_left_alone(create: Create, version: str) -> None:
    project = create(version, {})
    removed = ["data/flights.csv", f"{PACKAGE}/flights.py", "tests/test_flights.py", "tests/test_main.py"]
    own = [f"{PACKAGE}/flows.py", "tests/test_flows.py"]
    for path in removed:
        (project / path).unlink()
    for path in own:
        (project / path).write_text('"""Ours."""\n')
    with (project / "pyproject.toml").open("a") as file:
        file.write(f"\n[tool.cruft]\nskip = {[*own, 'data']}\n")
    commit(project)
    update(project)
    assert conflicts(project) == []
    assert [path for path in removed if (project / path).exists()] == []
    assert {(project / path).read_text() for path in own} == {'"""Ours."""\n'}
    assert "update-check" in (project / "Makefile").read_text()


@each_version
def test_a_conflict_can_be_seen(create: Create, version: str) -> None:
    """What `conflicts` is there for, and what the page says of it."""
    project = create(version, {})
    makefile = project / "Makefile"
    makefile.write_text(makefile.read_text().replace(" clean\n", " airports clean\n", 1))
    commit(project)
    update(project)
    assert conflicts(project) == ["Makefile"]
    assert git(project, "status", "--short", "Makefile") == "UU Makefile\n"


# Has the template moved?

UV = """
case "$1 $2" in
    "tool install") ;;
    "tool run") while test "$1" != cruft; do shift; done; exec "$@" ;;
    *) exit 9 ;;
esac
"""


@pytest.fixture
def commands(tmp_path: Path, environment: dict[str, str]) -> dict[str, str]:
    """An environment with cruft, and with a uv that runs it: the real one would install it anew."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for program, text in {"cruft": f'exec {sys.executable} -m cruft "$@"', "uv": UV}.items():
        (programs / program).write_text(f"#!/bin/sh\n{text}\n")
        (programs / program).chmod(0o755)
    return {**environment, **history.GIT, "PATH": f"{programs}{os.pathsep}{environment['PATH']}"}


def check(project: Path, commands: dict[str, str]) -> tuple[str, str]:
    """Return what `make update-check` says, and what it says of errors; of make's own line, only the exit code."""
    done = subprocess.run(
        ["make", "update-check"], cwd=project, env=commands, capture_output=True, text=True, check=False
    )
    code = re.search(r"^make: .* Error (\d+)\n", done.stderr, re.MULTILINE)
    assert bool(code) == bool(done.returncode)
    return done.stdout, done.stderr.replace(code[0], code[1]) if code else done.stderr


def test_update_check(create: Create, repository: Path, tmp_path: Path, commands: dict[str, str]) -> None:
    project = create("main", {})
    assert check(project, commands) == ("up to date: the template has not moved\n", "")

    linked = project / ".cruft.json"
    team = tmp_path / "team.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(repository), str(team))
    linked.write_text(linked.read_text().replace(str(repository), str(team)))
    move(team)
    out, error = check(project, commands)
    assert (out, error) == ("", "the template has moved: read its CHANGELOG.md and docs/updating.md\n1")

    team.rename(tmp_path / "elsewhere")
    out, error = check(project, commands)
    assert (out, error.startswith("cannot tell whether the template has moved:\n"), error[-1]) == ("", True, "2")
    assert f"repository '{team}' does not exist" in error
    assert error.count("\n") <= 5

    linked.unlink()
    out, error = check(project, commands)
    assert (out, error) == ("", "not linked to its template: .cruft.json is missing; cruft link makes it\n2")


def move(team: Path) -> None:
    """Let the template have one more commit."""
    more = git(team, "commit-tree", "-m", "more", "-p", "main", "main^{tree}").strip()
    git(team, "update-ref", "refs/heads/main", more)


def test_update_check_is_listed(bake: Bake, commands: dict[str, str]) -> None:
    project = bake()
    help_ = subprocess.run(["make", "help"], cwd=project, env=commands, capture_output=True, text=True, check=True)
    targets = re.findall(r"^([a-z-]+):.*## ", (project / "Makefile").read_text(), re.MULTILINE)
    assert re.findall(r"^make (\S+) +\S", help_.stdout, re.MULTILINE) == targets
    assert "update-check" in targets


def test_cruft_is_the_one_of_the_tests(bake: Bake) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    tested = {pin for pin in project["dependency-groups"]["dev"] if re.match("(cruft|cookiecutter)==", pin)}
    assert len(tested) == 2
    for text in ((bake() / "Makefile").read_text(encoding="utf-8"), PAGE):
        assert set(re.findall(r"(?:cruft|cookiecutter)==[\d.]+", text)) == tested


# The page


@each_version
def test_the_pages_commands(
    bake: Bake, repository: Path, tmp_path: Path, commands: dict[str, str], version: str
) -> None:
    if reason := history.missing(version):
        pytest.skip(reason)
    team = tmp_path / "team.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(repository), str(team))
    git(team, "update-ref", "refs/heads/main", f"{version}^{{commit}}")
    project = tmp_path / "durable-flights"
    blocks = iter(BLOCKS)

    def type_next(folder: Path) -> subprocess.CompletedProcess[str]:
        """Type the commands of the page's next block, Enter at each prompt; the project's tests run elsewhere."""
        text = next(blocks).replace("TEMPLATE", str(team)).replace("COMMIT", version)
        text = text.replace("make setup test lint\n", "")
        shell = ["bash", "-e", "-c", text]
        return subprocess.run(
            shell, cwd=folder, env=commands, input="\n" * 99, capture_output=True, text=True, check=False
        )

    def succeeds(folder: Path) -> str:
        done = type_next(folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    succeeds(tmp_path)  # uv tool install
    succeeds(tmp_path)  # cruft create
    succeeds(tmp_path)  # git init
    (project / ".cruft.json").unlink()
    commit(project)
    diff = succeeds(project)  # cruft link
    assert "+++" not in diff
    succeeds(project)  # git commit
    git(team, "update-ref", "refs/heads/main", git(repository, "rev-parse", "HEAD").strip())
    assert type_next(project).returncode == 2  # make update-check, which 0.1.0 does not have
    succeeds(project)  # cruft update
    assert check(project, commands)[0].startswith("up to date")
    assert git(project, "status", "--porcelain") == ""
    assert snapshot(project) == snapshot(bake())
    succeeds(project)  # another answer
    assert snapshot(project) == snapshot(bake(result_storage="s3"))
    assert next(blocks, None) is None
