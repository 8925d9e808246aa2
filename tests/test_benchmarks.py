"""The programs of the benchmarks that run in a project: they know its tables, and are run by hand alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Bake
from projects import path_of
from variants import ROOT, only_all


@pytest.mark.parametrize(
    ("program", "answers"),
    [
        (["step.py", "sqlite", "200", "10", "20"], {}),
        (["step.py", "file", "200", "10", "20"], {"checkpoint": "file"}),
        (["remaining.py", "fill", "0", "20"], {}),
    ],
)
def test_programs_know_the_tables_of_a_project(
    bake: Bake, environment: dict[str, str], tmp_path: Path, program: list[str], answers: dict[str, str]
) -> None:
    given = environment | {"PYTHONPATH": path_of(bake(**answers)), "DURABLE_FLIGHTS_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / program[0]), *program[1:]],
        cwd=tmp_path,
        env=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)


@only_all
def test_all_benchmarks_run() -> None:
    command = ["make", "--no-print-directory", "bench", "QUICK=1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "## Budgets" in done.stdout
