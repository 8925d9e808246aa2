"""Where the mapped tasks of the tests run: threads."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

ENVIRONMENT: dict[str, str] = {}
IN_THREADS = True
"""Whether chunks are done by the flow's own process."""


def started() -> AbstractContextManager[object]:
    """Start what tasks run on: nothing."""
    return nullcontext()


def prepared_by(function: Callable[[], None], folder: Path) -> dict[str, str]:
    """Return the environment in which each process of the cluster calls a function first: there is none."""
    return {}
