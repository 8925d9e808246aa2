"""Where the mapped tasks of the tests run: a Ray cluster."""

from collections.abc import Iterator
from contextlib import contextmanager

ENVIRONMENT: dict[str, str] = {}
IN_THREADS = False
"""Whether chunks are done by the flow's own process."""


@contextmanager
def started() -> Iterator[None]:
    """Start what tasks run on, for all tests."""
    from {{ cookiecutter.package_name }}.durable.runners import task_runner

    with task_runner():
        yield
