"""What `docs/teams.md` says: a team has its answers in a file, and its rules in a test that says where to look."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from projects import cookiecutter, cruft, path_of, snapshot
from variants import ROOT, Answers

PAGE = (ROOT / "docs" / "teams.md").read_text(encoding="utf-8")


@pytest.fixture
def team(tmp_path: Path) -> tuple[Path, Answers]:
    """The page's file, and the answers in it."""
    text = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0]
    file = tmp_path / "team.yaml"
    file.write_text(text)
    return file, yaml.safe_load(text)["default_context"]


@pytest.mark.rotating
def test_the_answers_of_a_team_come_from_a_file(
    team: tuple[Path, Answers], bake: Callable[..., Path], repository: Path, tmp_path: Path
) -> None:
    file, answers = team
    given = ["--config-file", file, "--no-input"]
    cookiecutter(ROOT, *given, "--output-dir", tmp_path / "a", "project_name=Daily Prices")
    expected = snapshot(bake(**answers, project_name="Daily Prices"))
    assert snapshot(tmp_path / "a" / "daily-prices") == expected
    cruft("create", repository, *given, "--output-dir", tmp_path / "b")
    assert snapshot(tmp_path / "b" / "durable-flights") == snapshot(bake(**answers))


@pytest.mark.rotating
def test_a_task_without_the_rules_is_named_with_its_line(
    baked: Callable[[Answers], Path], copy: Callable[[Path], Path], environment: dict[str, str]
) -> None:
    project = copy(baked({}))
    flow = project / "src" / "durable_flights" / "flows" / "prices.py"
    flow.write_text("from prefect import task\n\n\n@task\ndef fetch() -> None: ...\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/durable/test_conventions.py"],
        cwd=project,
        env={**environment, "PYTHONPATH": path_of(project), "COLUMNS": "1000"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert re.findall(r"AssertionError: (.*)", done.stdout)[0].startswith(
        "src/durable_flights/flows/prices.py:4: task flows.prices.fetch has no policy of the project for persist_result"
    )
    assert 'or add "flows.prices.fetch" to EXEMPT' in done.stdout
