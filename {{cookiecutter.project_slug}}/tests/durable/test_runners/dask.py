"""Dask: a cluster for the length of a run and one that is there already."""

import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask
import pytest
from distributed import LocalCluster
from prefect import flow
from prefect.settings import PREFECT_API_URL, temporary_settings

from {{ cookiecutter.package_name }}.durable.runners import task_runner
from {{ cookiecutter.package_name }}.durable.settings import PREFIX, ROOT, settings
from {{ cookiecutter.package_name }}.durable.tasks import durable_task

from tests.support import toys

pytestmark = [pytest.mark.usefixtures("api"), pytest.mark.slow]
COMMAND_LINE = """
from tests.support import toys
from {{ cookiecutter.package_name }}.durable.cli import main

main()
"""


def run_on(address: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Load a source of toys with the command line, in a process of its own."""
    environment = os.environ | {f"{PREFIX}CLUSTER_ADDRESS": address}
    command = [sys.executable, "-c", COMMAND_LINE, "run", toys.FLOW, str(path)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_processes_of_a_run_end_with_it(api: str) -> None:
    @durable_task(version="1", refresh_cache=True)
    def who(n: int) -> int:
        return os.getpid()

    @flow(task_runner=task_runner())
    def job() -> list[int]:
        return who.map(range(settings.workers)).result()

    def alone() -> list[int]:
        with temporary_settings({PREFECT_API_URL: api}):
            return job()

    # Another thread knows nothing of the tests' own cluster; spawned processes are Dask's default, and a run's.
    with dask.config.set({"distributed.worker.multiprocessing-method": "spawn"}), ThreadPoolExecutor(1) as thread:
        processes = thread.submit(alone).result()
    assert os.getpid() not in processes
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_two_runs_at_a_time_have_no_port_in_common() -> None:
    options = {**task_runner().cluster_kwargs, "n_workers": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with LocalCluster(**options), LocalCluster(**options):  # type: ignore[no-untyped-call]
            pass


def test_cluster_that_is_there_does_the_work_and_stays(tmp_path: Path) -> None:
    with LocalCluster(n_workers=1, host="127.0.0.1", dashboard_address=None) as cluster:  # type: ignore[no-untyped-call]
        done = run_on(cluster.scheduler_address, toys.chunks(tmp_path / "toys.txt", 3))
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[0] == f"{toys.FLOW}/toys: 3 chunks, 0 skipped, 3 done"
        (worker,) = cluster.scheduler.workers.values()
        assert worker.metrics["task_counts"] == {}, "it waits for more"
