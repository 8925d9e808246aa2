"""Where the mapped tasks of the tests run: a Dask cluster."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# Its processes are forks too, as those of `processes.py`: so they start in no time.
ENVIRONMENT = {"DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD": "forkserver"}
IN_THREADS = False
"""Whether chunks are done by the flow's own process."""


@contextmanager
def started() -> Iterator[None]:
    """Start what tasks run on, for all tests."""
    from {{ cookiecutter.package_name }}.durable.runners import task_runner

    with task_runner() as runner, runner.client.as_current():
        yield


def prepared_by(function: Callable[[], None], folder: Path) -> dict[str, str]:
    """Return the environment in which each process of the cluster calls a function first, which is `dask_setup`."""
    return {
        "DASK_DISTRIBUTED__WORKER__PRELOAD": json.dumps([function.__module__]),
        "DASK_TEMPORARY_DIRECTORY": str(folder),
    }
