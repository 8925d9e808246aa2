"""Where the mapped tasks of the tests run: threads."""

from contextlib import AbstractContextManager, nullcontext

ENVIRONMENT: dict[str, str] = {}
IN_THREADS = True
"""Whether chunks are done by the flow's own process."""


def started() -> AbstractContextManager[object]:
    """Start what tasks run on: nothing."""
    return nullcontext()
