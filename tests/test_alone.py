"""A project as its owner tests it: `make test`, in an empty home, where nothing of the template is at hand."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from variants import ALL, Answers, command, each

SAMPLE = [
    {},
    {"result_storage": "s3", "cache_key": "file_content", "upsert": "postgres", "checkpoint": "storage"},
    {"result_storage": "azure", "retry_policy": "none", "upsert": "duckdb", "checkpoint": "file"},
    {"result_storage": "gcs", "cache_key": "none", "retry_policy": "fixed", "upsert": "none", "checkpoint": "none"},
]
"""Each answer that takes libraries or servers of its own."""
TIMEOUT = 1200.0
"""Seconds, with all that is installed."""


@pytest.mark.slow
@pytest.mark.skipif(not ALL, reason="installs all libraries anew: make test-all runs it")
@pytest.mark.parametrize("variant", each(SAMPLE))
def test_a_project_alone_passes_its_tests(
    bake: Callable[..., Path], environment: dict[str, str], tmp_path: Path, variant: Answers
) -> None:
    project = bake(**variant)
    home = tmp_path / "home"
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
