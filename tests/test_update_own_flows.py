"""An owner with two flows of their own follows a change in the template's room: nothing of theirs is touched."""

import subprocess
import sys
from pathlib import Path

import history
import pytest
from history import git
from projects import cruft, path_of
from test_updates import commit, conflicts, update

DURABLE = "{{cookiecutter.project_slug}}/src/{{cookiecutter.package_name}}/durable"
ROOMS = ("src/durable_flights/flows", "tests/flows", "data", "migrations/versions", "prefect.yaml")
"""What is the owner's."""


def moved(repository: Path, folder: Path) -> Path:
    """Copy the template's repository, with a commit more that changes `durable` and the example."""
    bare = folder / "template.git"
    git(folder, "clone", "--quiet", "--bare", str(repository), str(bare))
    work = folder / "work"
    git(folder, "clone", "--quiet", str(bare), str(work))
    for file in ("progress.py", "chunks.py"):
        path = work / DURABLE / file
        path.write_text(path.read_text() + "\nCHANGED = True\n")
    (example,) = work.rglob("flights/source.py")
    example.write_text(example.read_text() + "\nCHANGED = True\n")
    history.run(work, "commit", "--quiet", "--all", "--message=a change")
    git(work, "push", "--quiet", "origin", "HEAD")
    return bare


def owned(project: Path) -> dict[str, bytes]:
    files = (path for room in ROOMS for path in [project / room, *(project / room).rglob("*")] if path.is_file())
    return {str(path.relative_to(project)): path.read_bytes() for path in files if "__pycache__" not in path.parts}


@pytest.mark.slow
def test_flows_of_ones_own_are_left_alone(repository: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    bare = moved(repository, tmp_path)
    before = git(repository, "rev-parse", "HEAD").strip()
    cruft("create", bare, "--no-input", "--checkout", before, "--output-dir", tmp_path / "out")
    (project,) = (tmp_path / "out").iterdir()
    git(project, "init", "--quiet")
    commit(project)
    for name in ("orders", "prices"):
        subprocess.run(
            [sys.executable, "-m", "durable_flights", "flow", name],
            cwd=project,
            env={**environment, "PYTHONPATH": path_of(project)},
            check=True,
            capture_output=True,
        )
    source = project / "src/durable_flights/flows/flights/source.py"
    source.write_text(source.read_text().replace("2400", "2359") + "\nOURS = True\n")
    settings = project / "src/durable_flights/flows/orders/settings.py"
    settings.write_text(
        "from ...durable import ProjectSettings\n\n\nclass OrdersSettings(ProjectSettings):\n    a: int = 1\n"
    )
    commit(project)
    ours = owned(project)
    assert len(ours) > 15
    update(project)
    assert conflicts(project) == []
    assert owned(project) == ours
    for file in ("progress.py", "chunks.py"):
        assert "CHANGED" in (project / "src/durable_flights/durable" / file).read_text()
