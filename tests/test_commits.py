"""Commits in a project are checked by its own tools, which fetch nothing."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from projects import path_of
from variants import ALL, Answers, each, pairwise, spread

Baked = Callable[[Answers], Path]
Copy = Callable[[Path], Path]

VARIANTS = pairwise() if ALL else spread()
FIRST = {variant["deployment"]: variant for variant in reversed(VARIANTS)}
"""Of each kind of deployment."""


def call(project: Path, environment: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    person = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.com"}
    committer = {"GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.com"}
    variables = {**environment, **person, **committer, "PYTHONPATH": path_of(project)}
    return subprocess.run(command, cwd=project, env=variables, capture_output=True, text=True, check=False)


@pytest.fixture
def repository(copy: Copy, environment: dict[str, str]) -> Callable[[Path], Path]:
    """A project in a git repository of its own, with this environment in the place of its own."""

    def repository(project: Path) -> Path:
        ours = copy(project)
        (ours / ".venv").symlink_to(sys.prefix)
        for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "New"]):
            assert call(ours, environment, "git", *command).returncode == 0
        return ours

    return repository


@pytest.mark.rotating
@pytest.mark.parametrize("variant", each(VARIANTS))
def test_all_checks_pass(
    baked: Baked, repository: Callable[[Path], Path], environment: dict[str, str], variant: Answers
) -> None:
    project = repository(baked(variant))
    # Types are checked by `test_types.py`, the keys of prefect.yaml once for each kind of deployment.
    first = variant == FIRST[variant["deployment"]]
    skipped = {"SKIP": "mypy" if first else "mypy,prefect-yaml"}
    done = call(project, {**environment, **skipped}, ".venv/bin/pre-commit", "run", "--all-files")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Passed") == (3 if first else 2)
    assert call(project, environment, "git", "status", "--porcelain").stdout.strip() == "", "no check changes a file"


@pytest.mark.rotating
def test_a_commit_that_is_not_clean_is_refused(
    baked: Baked, repository: Callable[[Path], Path], environment: dict[str, str], api: str, types_cache: Path
) -> None:
    environment = {**environment, "MYPY_CACHE_DIR": str(types_cache)}
    project = repository(baked({}))
    make = ["make", "--old-file", ".venv/.ready", "setup"]
    done = call(project, {**environment, "PREFECT_API_URL": api}, *make)
    assert done.returncode == 0, done.stderr
    flows = project / "src" / "durable_flights" / "flows" / "flights" / "flow.py"
    flows.write_text(flows.read_text() + "import os\n")
    commit = ["git", "commit", "--all", "--message", "Unclean"]
    done = call(project, environment, *commit)
    assert done.returncode != 0
    assert "ruff check" in done.stderr + done.stdout
    assert call(project, environment, "git", "log", "--oneline").stdout.count("\n") == 1


def test_a_project_within_another_repository_leaves_its_hooks_alone(
    baked: Baked, copy: Copy, environment: dict[str, str], api: str, tmp_path: Path
) -> None:
    project = copy(baked({}))
    (project / ".venv").symlink_to(sys.prefix)
    assert call(tmp_path, environment, "git", "init", "--quiet").returncode == 0
    done = call(project, {**environment, "PREFECT_API_URL": api}, "make", "--old-file", ".venv/.ready", "setup")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / ".git" / "hooks" / "pre-commit").exists()


def test_hooks_of_ones_own_are_left_alone(
    baked: Baked, repository: Callable[[Path], Path], environment: dict[str, str], api: str
) -> None:
    """Where git calls hooks of another folder, setup goes on and says that it does not check commits."""
    project = repository(baked({}))
    assert call(project, environment, "git", "config", "core.hooksPath", os.devnull).returncode == 0
    done = call(project, {**environment, "PREFECT_API_URL": api}, "make", "--old-file", ".venv/.ready", "setup")
    assert done.returncode == 0, done.stderr
    assert "commits are not checked here" in done.stderr
