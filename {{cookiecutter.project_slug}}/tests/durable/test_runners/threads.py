"""The task runner: tasks side by side, as many as the setting says."""

import threading
import time

import pytest
from prefect import flow

from {{ cookiecutter.package_name }}.durable.runners import task_runner
from {{ cookiecutter.package_name }}.durable.settings import settings
from {{ cookiecutter.package_name }}.durable.tasks import durable_task


@pytest.mark.usefixtures("api")
def test_as_many_tasks_run_at_a_time_as_there_are_workers() -> None:
    lock = threading.Lock()
    running = most = 0

    @durable_task(version="1")
    def work(n: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.3)
        with lock:
            running -= 1
        return n

    @flow(task_runner=task_runner())
    def job() -> list[int]:
        return work.map(range(3 * settings.workers)).result()

    assert sorted(job()) == list(range(3 * settings.workers))
    assert most == settings.workers
