"""Where the mapped tasks of the tests run: threads."""

from contextlib import AbstractContextManager, nullcontext

ENVIRONMENT: dict[str, str] = {}


def started() -> AbstractContextManager[object]:
    """Start what tasks run on: nothing."""
    return nullcontext()
