"""A project as its owner tests it: in an empty home, by several processes, with nothing of the template at hand.

`test_pythons.py` does so with more variants, on other Pythons.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import day
from projects import alone, path_of, run_make
from variants import Answers, command, each, only_all, pairwise

SERVERS = {"result_storage": "s3", "cache_key": "file_content", "upsert": "postgres", "checkpoint": "storage"}
WHOLE = pairwise()
SAMPLE = [{}, SERVERS, WHOLE[day() % len(WHOLE)]]
"""The defaults, answers that take servers, and the variant whose day it is."""
TIMEOUT = 3600.0
"""Seconds, with all that is installed."""

pytestmark = [
    pytest.mark.slow,
    only_all,
]


@pytest.mark.parametrize("variant", each(SAMPLE))
def test_a_project_alone_passes_its_tests(
    baked: Callable[[Answers], Path], environment: dict[str, str], variant: Answers
) -> None:
    with alone(baked(variant), environment) as (project, names):
        done = run_make(project, names, "test-all", timeout=TIMEOUT)
        assert done.code == 0, f"{done.output[-6000:]}\n\nBake it again with:\n  {command(variant)}"
        assert done.passed


@pytest.mark.parametrize("variant", each(SAMPLE))
def test_each_process_finds_the_same_tests(
    baked: Callable[[Answers], Path], copy: Callable[[Path], Path], environment: dict[str, str], variant: Answers
) -> None:
    """Whatever the time and the order of sets; otherwise `make test` stops."""
    project = copy(baked(variant))
    found = []
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"],
            cwd=project,
            env={**environment, "PYTHONPATH": path_of(project), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        found.append([line for line in done.stdout.splitlines() if "::" in line])
    assert found[0] == found[1] != []


def test_a_project_starts_a_server_for_its_tests(
    baked: Callable[[Answers], Path], copy: Callable[[Path], Path], environment: dict[str, str]
) -> None:
    """Beside tests that fork before it is there: the processes of later tests have to find it."""
    project = copy(baked(SERVERS))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore"]
        + [f"tests/durable/{name}.py" for name in ("test_writers", "test_checkpoints")],
        cwd=project,
        env={**environment, "PYTHONPATH": path_of(project)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
