"""The checkpoint of a long job: none. Every run does every step."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .names import JobStatus, checked, once
from .upserts import Connection, transaction

__all__ = ["IN_STORE", "LOCAL", "OUTSIDE", "REMEMBERS", "Checkpoint", "status"]

LOCAL = ""
"""What of this module is on this machine alone: nothing."""
REMEMBERS = False
"""Whether a new run finds what an earlier one has done."""
OUTSIDE = False
"""Whether checkpoints are outside of the database, so that they outlive it."""
IN_STORE = False
"""Whether they are in the store of results."""


@dataclass(frozen=True)
class Checkpoint:
    """What is done of one job: nothing is remembered."""

    job: str

    def __post_init__(self) -> None:
        checked(self.job, "job")

    def remaining(self, keys: Iterable[str]) -> list[str]:
        """Return all keys, each once and in their order."""
        return list(once(keys))

    @contextmanager
    def step(self, key: str) -> Iterator[Connection | None]:
        """Do a step in a transaction, which commits when the block ends and rolls back when it raises."""
        checked(key, "step")
        with transaction() as connection:
            yield connection

    def done(self) -> set[str]:
        """Return the keys of all steps that are known to be done: none."""
        return set()

    def reset(self) -> bool:
        """Forget the job. Return whether anything was known of it: no."""
        return False


def status() -> list[JobStatus]:
    """Return how far each job is: nothing is remembered."""
    return []
