"""Where the mapped tasks of the tests run: a Dask cluster."""

from collections.abc import Iterator
from contextlib import contextmanager

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
