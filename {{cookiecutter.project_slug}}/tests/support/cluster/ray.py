"""Where the mapped tasks of the tests run: a Ray cluster."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ENVIRONMENT: dict[str, str] = {}
IN_THREADS = False
"""Whether chunks are done by the flow's own process."""


@contextmanager
def started() -> Iterator[None]:
    """Start what tasks run on, for all tests."""
    from {{ cookiecutter.package_name }}.durable.runners import task_runner

    with task_runner():
        yield


def prepared_by(function: Callable[[], None], folder: Path) -> dict[str, str]:
    """Return the environment in which each process of the cluster calls a function first."""
    return {"__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR": f"{function.__module__}.{function.__name__}"}
