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
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import history
import pytest
from conftest import Bake
from history import RELEASED, UPDATED, git
from projects import cruft, path_of, snapshot
from variants import CORE, PROMPTS, ROOT, Answers, Options, name, typed

Create = Callable[..., Path]

PAGE = (ROOT / "docs" / "updating.md").read_text(encoding="utf-8")
WITHOUT_ROOMS = "Update a project of version 0.1.0"
"""The heading of what projects need that were made before there were rooms."""


def blocks_of(page: str) -> list[str]:
    """Return the commands that a page shows, in its order."""
    return re.findall(r"^```console\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


BLOCKS = blocks_of(PAGE.partition(f"## {WITHOUT_ROOMS}\n")[0])
ASIDE, *_ = blocks_of(PAGE.partition(f"## {WITHOUT_ROOMS}\n")[2])
"""What puts an owner's edits in the template's files aside before the update, and updates."""

TESTS_TIMEOUT = 300.0
"""Seconds for some tests of a project."""


def spread(version: str) -> list[Answers]:
    """Return variants with every pair of answers to the core prompts that the version had; the others take turns."""
    choices, refused = UPDATED[version]["choices"], UPDATED[version]["refused"]
    core = {prompt: choices[prompt] for prompt in CORE if prompt in choices}
    others = {prompt: answers for prompt, answers in choices.items() if prompt not in core}
    variants = []
    for turn, variant in enumerate(Options(core, refused, CORE).pairwise()):
        for prompt, answers in others.items():
            turns = (answers[(turn + more) % len(answers)] for more in range(len(answers)))
            allowed = (answer for answer in turns if Options(choices, refused).valid(variant | {prompt: answer}))
            variant |= {prompt: next(allowed)}
        variants.append(variant)
    return variants


VARIANTS = [(version, answers) for version in UPDATED for answers in spread(version)]
each_version = pytest.mark.parametrize("version", UPDATED)
each_project = pytest.mark.parametrize(
    ("version", "answers"), [pytest.param(*variant, id=f"{variant[0]}+{name(variant[1])}") for variant in VARIANTS]
)


@pytest.fixture(scope="module")
def created(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Make a project with cruft, in a git repository of its own; once, to be copied."""

    @functools.cache
    def created(commit_or_tag: str, given: str) -> Path:
        return linked(repository, tmp_path_factory.mktemp("created"), given, "--checkout", commit_or_tag)

    return created


@pytest.fixture
def create(created: Callable[[str, str], Path], copy: Callable[[Path], Path]) -> Create:
    """Make a project of a version, or of the template as it is: `main`."""

    def create(version: str, answers: Answers) -> Path:
        if reason := version in UPDATED and history.missing(version):
            pytest.skip(reason)
        return copy(created(version, json.dumps(typed(answers))))

    return create


def linked(repository: Path, output: Path, given: str, *options: str) -> Path:
    """Make a project with cruft, in a git repository of its own; its answers are JSON."""
    cruft("create", repository, *options, "--no-input", "--extra-context", given, "--output-dir", output)
    (project,) = output.iterdir()
    git(project, "init", "--quiet")
    commit(project)
    return project


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


def answers_of(project: Path) -> Answers:
    """Return all answers of a project, those that were a version's defaults included."""
    linked = json.loads((project / ".cruft.json").read_text(encoding="utf-8"))["context"]["cookiecutter"]
    return {prompt: linked[prompt] for prompt in PROMPTS}


# Projects as they were made


@each_project
def test_an_untouched_project_becomes_what_is_made_now(
    create: Create, bake: Bake, repository: Path, version: str, answers: Answers
) -> None:
    project = create(version, answers)
    update(project)
    assert snapshot(project) == snapshot(bake(**answers_of(project)))
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
    assert snapshot(project) == snapshot(bake(**answers_of(project) | answers))


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


def test_airports_are_a_task() -> None:
    assert read_airports.version == "1"
'''
NEXT_DAY = "2013,2,1,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-02-01T10:00:00Z\n"
"""A record that the sample does not have."""
PACKAGE = "src/durable_flights"
INSIDE: list[tuple[str, Callable[[str], str]]] = [
    (f"{PACKAGE}/tables.py", before("\n\ndef create(", TABLE)),
    (f"{PACKAGE}/settings.py", before("\n    @", '    airports: str = "airports.csv"\n    """A file."""\n')),
    (f"{PACKAGE}/settings.py", instead("workers: int = Field(default=2", "workers: int = Field(default=8")),
    (f"{PACKAGE}/flows.py", instead('@durable_task(version="1")', '@durable_task(version="2")')),
    (f"{PACKAGE}/flows.py", at_the_end(FLOW)),
]  # fmt: skip
"""Edits in code, which has moved."""
AROUND: list[tuple[str, Callable[[str], str]]] = [
    ("README.md", instead("Loads flights so that", "Loads our flights so that")),
    # The row above stays as it is: an owner adds rows below it.
    ("README.md", after(", until stopped |\n", "| `make airports` | loads the airports |\n")),
    ("README.md", at_the_end("\n## On call\n\nAsk us.\n")),
    ("pyproject.toml", instead('version = "0.1.0"', 'version = "2.0.0"')),
    ("pyproject.toml", after('    "uvicorn>=0.34,<1",\n', '    "xlsxwriter>=3,<4",\n')),
    ("Makefile", at_the_end("\n.PHONY: airports\nairports: .venv/.ready ## load the airports\n\t@$(BIN)/airports\n")),
    (".env.example", at_the_end("# The file of airports.\n#DURABLE_FLIGHTS_AIRPORTS=airports.csv\n")),
    (".gitignore", at_the_end("*.xlsx\n")),
]  # fmt: skip
"""Edits in what has stayed where it was."""

# What an owner makes of that in a room of their own.
ROOM = {
    f"{PACKAGE}/flows/airports/__init__.py": '"""The airports."""\n',
    f"{PACKAGE}/flows/airports/settings.py": '''"""The settings of the airports."""

from ...durable import ProjectSettings


class AirportsSettings(ProjectSettings):
    """Which file is loaded."""

    airports: str = "airports.csv"
    """A file."""


settings = AirportsSettings()
''',
    f"{PACKAGE}/flows/airports/tables.py": f'''"""The table of the airports."""

from sqlalchemy import Column, String, Table

from ...durable import metadata
{TABLE}''',
    f"{PACKAGE}/flows/airports/flow.py": '''"""Count the airports."""

from pathlib import Path

from ...durable import durable_flow, durable_task


@durable_task(version="1")
def read_airports(path: Path) -> int:
    """Count the airports of a file."""
    return len(path.read_text(encoding="utf-8").splitlines())


@durable_flow(name="airports")
def load_airports(path: Path) -> int:
    """Load a file of airports."""
    return read_airports(path)
''',
    "tests/flows/test_airports.py": '''"""The airports."""

from durable_flights.durable import database, upsert
from durable_flights.durable.tables import create
from durable_flights.flows.airports.flow import read_airports
from durable_flights.flows.airports.settings import settings
from durable_flights.flows.airports.tables import airports


def test_settings() -> None:
    assert settings.airports == "airports.csv"


def test_airports_are_a_task() -> None:
    assert read_airports.version == "1"


def test_airports_are_kept() -> None:
    create(database())
    with database().begin() as connection:
        assert upsert(connection, airports, [{"faa": "JFK", "name": "Kennedy"}]).inserted == 1
''',
    "migrations/versions/airports.py": """import sqlalchemy as sa
from alembic import op

revision = "airports"
down_revision = None


def upgrade() -> None:
    op.create_table("airports", sa.Column("faa", sa.String(3), primary_key=True), sa.Column("name", sa.String))
""",
}


def edit(project: Path) -> dict[str, tuple[Counter[str], Counter[str]]]:
    """Change a project as its owner does; return which lines that adds, and which it removes, by file."""
    changed: dict[str, tuple[Counter[str], Counter[str]]] = {}
    originals: dict[str, str] = {}
    for path, change in INSIDE + AROUND:
        if (project / path).exists():
            text = (project / path).read_text(encoding="utf-8")
            assert change(text) != text, f"the edit of {path} finds no place"
            (project / path).write_text(change(text), encoding="utf-8")
            first, now = (Counter(each.splitlines()) for each in (originals.setdefault(path, text), change(text)))
            changed[path] = now - first, first - now
    (project / "tests" / "test_airports.py").write_text(OWN_TEST, encoding="utf-8")
    return changed


def put_aside(project: Path, commands: dict[str, str]) -> str:
    """Type the page's commands for a project without rooms; return the owner's edits as they are put aside."""
    done = subprocess.run(
        ["bash", "-e", "-c", ASIDE], cwd=project, env=commands, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return (project.parent / "ours.patch").read_text(encoding="utf-8")


@pytest.mark.rotating
@each_project
def test_an_owners_edits_are_kept(
    create: Create, bake: Bake, commands: dict[str, str], version: str, answers: Answers
) -> None:
    """Those around the code by the update, those in the code in a patch."""
    project = create(version, answers)
    changed = edit(project)
    commit(project)
    aside = put_aside(project, commands)
    assert conflicts(project) == []
    fresh = snapshot(bake(**answers_of(project)))
    found = snapshot(project)
    assert found.keys() - fresh.keys() == {"tests/test_airports.py"}
    assert fresh.keys() - found.keys() == set()
    for path, (mode, content) in fresh.items():
        if path not in changed:
            assert found[path] == (mode, content), path
            continue
        added, removed = changed[path]
        now, made = (Counter(each.decode().splitlines()) for each in (found[path][1], content))
        assert now - made == added, path
        assert made - now == removed, path
    for path in {path for path, _ in INSIDE} & changed.keys():
        assert f"/{path}\n" in aside
        # In the direction from what is the owner's to what is the template's.
        assert not changed[path][0] - Counter(line[1:] for line in aside.splitlines() if line.startswith("-")), path


@pytest.mark.rotating
@each_version
def test_an_edited_project_passes_its_tests(
    create: Create, environment: dict[str, str], commands: dict[str, str], version: str
) -> None:
    project = create(version, {})
    edit(project)
    commit(project)
    put_aside(project, commands)
    (project / "tests/test_airports.py").unlink()
    for path, text in ROOM.items():
        (project / path).parent.mkdir(exist_ok=True)
        (project / path).write_text(text, encoding="utf-8")
    parts = ("conventions", "migrations", "names", "settings", "upserts")
    tests = ["tests/flows/test_airports.py", *(f"tests/durable/test_{part}.py" for part in parts)]
    checks = [["ruff", "check", "--no-cache"], ["ruff", "format", "--no-cache", "--check"], ["pytest", "-q", *tests]]
    for check in checks:
        done = subprocess.run(
            [sys.executable, "-m", *check],
            cwd=project,
            # No server is asked for by these tests, and none is to be started.
            env={**environment, "PYTHONPATH": path_of(project), "PREFECT_API_URL": "http://127.0.0.1:9/api"},
            capture_output=True,
            text=True,
            timeout=TESTS_TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    assert re.search(r"^\d{2,} passed", done.stdout, re.MULTILINE)


@pytest.mark.rotating
@pytest.mark.slow
@each_version
def test_what_is_done_counts_on(
    create: Create, environment: dict[str, str], commands: dict[str, str], version: str
) -> None:
    """Tables and checkpoints of before the update are those of after it, once the file has its new name."""
    project = create(version, {})

    def run_flow() -> list[str]:
        done = subprocess.run(
            [sys.executable, "-m", "durable_flights", "run"],
            cwd=project,
            env={**environment, "PYTHONPATH": path_of(project)},
            capture_output=True,
            text=True,
            timeout=TESTS_TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.splitlines()

    assert "31 chunks" in run_flow()[0]
    put_aside(project, commands)
    for file in (project / "var").glob("flights.db*"):
        file.rename(file.with_name(file.name.replace("flights", "database")))
    with (project / "data/flights.csv").open("a") as file:
        file.write(NEXT_DAY)
    assert run_flow()[0] == "load-flights/flights: 32 chunks, 31 skipped, 1 done"


@each_version
def test_what_the_owner_removed_or_rewrote_is_left_alone(create: Create, version: str) -> None:
    project = create(version, {})
    removed = [".github/workflows/ci.yml", "LICENSE"]
    own = ["prefect.yaml"]
    for path in removed:
        (project / path).unlink()
    for path in own:
        (project / path).write_text("# Ours.\n")
    with (project / "pyproject.toml").open("a") as file:
        file.write(f"\n[tool.cruft]\nskip = {own}\n")
    commit(project)
    update(project)
    # There are two tables of that name now: the owner's and the template's.
    assert conflicts(project) in ([], ["pyproject.toml"])
    assert [path for path in removed if (project / path).exists()] == []
    assert {(project / path).read_text() for path in own} == {"# Ours.\n"}
    assert "update-check" in (project / "Makefile").read_text()


@pytest.mark.parametrize("version", RELEASED)
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


@pytest.mark.rotating
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
        # In the environment that runs these tests.
        text = text.replace("make switch", f"make --old-file=.venv/.ready BIN={Path(sys.executable).parent} switch")
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
    assert snapshot(project) == snapshot(bake(**answers_of(project)))
    commands["PYTHONPATH"] = path_of(project)
    assert "nothing was changed" in succeeds(project)  # make switch
    assert answers_of(project)["result_storage"] == "s3"
    assert snapshot(project) == snapshot(bake(**answers_of(project)))
    assert next(blocks, None) is None
