"""No checkpoints: every run does every step."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .names import JobStatus, checked, once
from .upserts import Connection, transaction

__all__ = ["IN_STORE", "JOBS", "LOCAL", "OUTSIDE", "REMEMBERS", "Checkpoint", "status"]

LOCAL = ""
"""The data of this module that exists on this machine only: none."""
REMEMBERS = False
"""Whether a new run skips the steps that earlier runs have done."""
OUTSIDE = False
"""Whether checkpoints are outside the database, and so may outlive it."""
JOBS = ()
"""The columns of the database that hold full names of jobs: none."""
IN_STORE = False
"""Whether checkpoints are in the result storage."""


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint of one job: it remembers nothing."""

    job: str

    def __post_init__(self) -> None:
        checked(self.job, "job")

    def remaining(self, keys: Iterable[str]) -> list[str]:
        """Return all keys, in order and without duplicates."""
        return list(once(keys))

    @contextmanager
    def step(self, key: str) -> Iterator[Connection | None]:
        """Run a step in a transaction, which commits when the block ends and rolls back if it raises."""
        checked(key, "step")
        with transaction() as connection:
            yield connection

    def done(self) -> set[str]:
        """Return an empty set: no step is known to be done."""
        return set()

    def reset(self) -> bool:
        """Do nothing; return False, as nothing is known about the job."""
        return False


def status() -> list[JobStatus]:
    """Return an empty list: nothing is remembered about jobs."""
    return []
