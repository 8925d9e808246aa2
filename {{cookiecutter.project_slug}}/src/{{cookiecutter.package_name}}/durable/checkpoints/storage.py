"""How a long job remembers what is done: a small object a step, beside the stored results.

The marks are where the results are, so they outlive the worker and its disk where the results do. The mark comes after
the step's effect: a crash between the two has the step done again: at least once, and harmless where the effect may be
repeated, as an upsert may. Nothing is locked: of several workers at the same step at the same time all may do it, and
their marks are one object. Whoever wants a step done once at a time must see to it that one worker has it.

A mark is `<results>/checkpoints/<job>/<step>`, with the names in the object too; `job.json` beside it holds the total.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from . import marks
from .names import JobStatus, checked, once
from .parts import part
from .probe import StoreError
from .upserts import Connection, transaction

__all__ = ["IN_STORE", "LOCAL", "OUTSIDE", "REMEMBERS", "Checkpoint", "status"]

LOCAL = ""
"""What of this module is on this machine alone: nothing, beside the results."""
REMEMBERS = True
"""Whether a new run finds what an earlier one has done."""
OUTSIDE = True
"""Whether checkpoints are outside of the database, so that they outlive it."""
IN_STORE = True
"""Whether they are in the store of results."""

JOB = "job.json"
"""No step has that name: theirs hold no dot."""
LONGEST_NAME = 200
"""Bytes of a step's name in the store; file systems take 255, with what a temporary file adds."""


@dataclass(frozen=True)
class Checkpoint:
    """What is done of one job. Jobs with different names do not see each other's steps.

    All methods raise StoreError where the store fails.
    """

    job: str

    def __post_init__(self) -> None:
        checked(self.job, "job")

    def remaining(self, keys: Iterable[str]) -> list[str]:
        """Return the keys of those steps that are not done, in their order, and note the job's total for `status`.

        A key that stands there twice is one step. Takes one listing of the job's marks, however many keys there are.
        The way to the store is taken anew, and kept for the steps that follow.
        """
        keys = once(keys)
        marks.refresh()
        done = self._names()
        remaining = [key for key in keys if _name(key) not in done]
        total = _json(job=self.job, total=len(done) + len(remaining))
        if marks.read(f"{part(self.job)}/{JOB}") != total:
            marks.write(f"{part(self.job)}/{JOB}", total)
        return remaining

    @contextmanager
    def step(self, key: str) -> Iterator[Connection | None]:
        """Do a step in a transaction, then mark it as done. Takes two requests.

        Yields a connection in a transaction, to write with, or None where the step is done already: then skip it. The
        transaction commits when the block ends, and the checkpoint is written after that; a block that raises leaves
        neither. Delivery guarantee: at least once. Workers that come to the same step at the same time are all told to
        do it.
        """
        name = f"{part(self.job)}/{_name(checked(key, 'step'))}"
        if marks.read(name) is not None:
            yield None
            return
        with transaction() as connection:
            yield connection
        marks.write(name, _json(job=self.job, step=key, done_at=datetime.now(UTC).isoformat()))

    def done(self) -> set[str]:
        """Return the keys of all steps of the job that are done."""
        return {key for name in self._names() if (key := self._key(name)) is not None}

    def reset(self) -> bool:
        """Forget the job, so that it is done again from the start. What its steps have written stays.

        Takes a request a step.

        Returns:
            Whether anything was known of it.
        """
        names = [*self._names(), JOB]
        known = len(names) > 1 or marks.read(f"{part(self.job)}/{JOB}") is not None
        # The job itself last: what is interrupted can be done again.
        for name in names if known else ():
            marks.delete(f"{part(self.job)}/{name}")
        return known

    def _names(self) -> set[str]:
        return set(marks.names(f"{part(self.job)}/")) - {JOB}

    def _key(self, name: str) -> str | None:
        """The step that a mark stands for, or None if the mark has gone meanwhile."""
        if not name.startswith("_x"):
            return re.sub(rb"_([0-9a-f]{2})", lambda code: bytes.fromhex(code[1].decode()), name.encode()).decode()
        content = marks.read(f"{part(self.job)}/{name}")
        try:
            step: str | None = None if content is None else json.loads(content)["step"]
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"mark {name} of job {self.job!r} is damaged; remove it, to do its step again") from error
        return step


def status() -> list[JobStatus]:
    """Return how far each job is whose total is known, by name. Takes a listing of all marks, and a request a job."""
    marks.refresh()
    names = [name.partition("/") for name in marks.names("")]
    done = Counter(folder for folder, _, name in names if name != JOB)
    found = []
    for folder, _, name in names:
        if name == JOB and (content := marks.read(f"{folder}/{JOB}")) is not None:
            job = json.loads(content)
            found.append(JobStatus(job["job"], done[folder], job["total"]))
    return sorted(found)


def _name(key: str) -> str:
    """A step's name in the store, of lower-case letters, digits, `-` and `_`: no store and no disk takes it otherwise.

    All other bytes are written as `_` and two hex digits; a name that is too long so is `_x` and the key's SHA-256.
    """
    name = re.sub(rb"[^a-z0-9-]", lambda byte: b"_%02x" % byte[0][0], key.encode()).decode()
    return name if len(name) <= LONGEST_NAME else f"_x{hashlib.sha256(key.encode()).hexdigest()}"


def _json(**content: Any) -> bytes:
    return json.dumps(content).encode()
