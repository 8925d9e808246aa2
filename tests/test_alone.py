"""A project as its owner tests it: in an empty home, by several processes, with nothing of the template at hand."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from variants import ALL, Answers, command, each

SAMPLE = [
    {},
    {"result_storage": "s3", "cache_key": "file_content", "upsert": "postgres", "checkpoint": "storage"},
]
"""The defaults, and others that take servers."""
TIMEOUT = 1200.0
"""Seconds, with all that is installed."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ALL, reason="installs libraries and starts servers anew: make test-all runs it"),
]


@pytest.mark.parametrize("variant", each(SAMPLE))
def test_a_project_alone_passes_its_tests(
    baked: Callable[[Answers], Path], environment: dict[str, str], variant: Answers
) -> None:
    # Not in pytest's folder, which each pytest closes to the user that PostgreSQL runs as.
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    project = shutil.copytree(baked(variant), folder / "durable-flights")
    home = folder / "home"
    home.mkdir()
    ours = Path(sys.executable).parent
    path = os.pathsep.join(place for place in environment["PATH"].split(os.pathsep) if Path(place) != ours)
    names = {name: value for name, value in environment.items() if not name.startswith(("PREFECT_", "VIRTUAL_ENV"))}
    done = subprocess.run(
        ["make", "test"],
        cwd=project,
        env={**names, "HOME": str(home), "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n\nBake it again with:\n  {command(variant)}"
    assert " passed" in done.stdout
    shutil.rmtree(folder)


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
            env={**environment, "PYTHONPATH": str(project / "src"), "PYTHONHASHSEED": seed},
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
    project = copy(baked(SAMPLE[1]))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore"]
        + [f"tests/{name}.py" for name in ("test_writers", "test_checkpoints")],
        cwd=project,
        env={**environment, "PYTHONPATH": str(project / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
