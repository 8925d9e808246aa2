"""Checkpoints beside the stored results: a small object per step.

They outlive the worker and its disk if the results do. The checkpoint follows the step's writes: a crash between the
two repeats the step. Delivery guarantee: at least once, which an idempotent upsert makes harmless. Nothing is locked:
workers that reach a step at the same time may all do it, and they write the same object. If a step must not run twice
at a time, give it to one worker only.

A checkpoint is `<results>/checkpoints/<job>/<step>`, and holds both names too; `job.json` beside it holds the total.
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

__all__ = ["IN_STORE", "JOBS", "LOCAL", "OUTSIDE", "REMEMBERS", "Checkpoint", "status"]

LOCAL = ""
"""The data of this module that exists on this machine only: none, apart from the results."""
REMEMBERS = True
"""Whether a new run skips the steps that earlier runs have done."""
OUTSIDE = True
"""Whether checkpoints are outside the database, and so may outlive it."""
JOBS = ()
"""The columns of the database that hold full names of jobs: none."""
IN_STORE = True
"""Whether checkpoints are in the result storage."""

JOB = "job.json"
"""The object with the job's total. No step has this name: theirs contain no dot."""
LONGEST_NAME = 200
"""The maximum bytes of a step's object name. File systems allow 255, and a temporary file adds some."""


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint of one job. Jobs with different names do not share steps.

    All methods raise StoreError if the storage fails.
    """

    job: str

    def __post_init__(self) -> None:
        checked(self.job, "job")

    def remaining(self, keys: Iterable[str]) -> list[str]:
        """Return the keys of the steps that are not done, in order, and store the job's total for `status`.

        Duplicate keys are one step. Lists the job's checkpoints once, however many keys there are. Connects to the
        storage anew, for this call and the steps that follow.
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
        """Run a step in a transaction, then write its checkpoint. Takes two requests.

        Yields a connection in a transaction, or None if the step is done: then skip it. The transaction commits when
        the block ends, and the checkpoint is written after that; a block that raises leaves neither. Delivery
        guarantee: at least once. Workers that reach the same step at the same time may all do it.
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
        """Delete the job's checkpoints, so that it starts again. What its steps have written stays.

        Takes one request per step.

        Returns:
            Whether the job had any.
        """
        names = [*self._names(), JOB]
        known = len(names) > 1 or marks.read(f"{part(self.job)}/{JOB}") is not None
        # The job's object goes last, so that an interrupted reset can be repeated.
        for name in names if known else ():
            marks.delete(f"{part(self.job)}/{name}")
        return known

    def _names(self) -> set[str]:
        return set(marks.names(f"{part(self.job)}/")) - {JOB}

    def _key(self, name: str) -> str | None:
        """Return the step of a checkpoint, or None if the checkpoint has been deleted meanwhile."""
        if not name.startswith("_x"):
            return re.sub(rb"_([0-9a-f]{2})", lambda code: bytes.fromhex(code[1].decode()), name.encode()).decode()
        content = marks.read(f"{part(self.job)}/{name}")
        try:
            step: str | None = None if content is None else json.loads(content)["step"]
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"mark {name} of job {self.job!r} is damaged; remove it, to do its step again") from error
        return step


def status() -> list[JobStatus]:
    """Return the progress of jobs with a known total, by name. Lists all checkpoints; one more request per job."""
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
    """Encode a step's key as an object name of lower-case letters, digits, `-` and `_`, which any storage keeps.

    Other bytes become `_` and two hex digits; if the name is too long, it is `_x` and the key's SHA-256.
    """
    name = re.sub(rb"[^a-z0-9-]", lambda byte: b"_%02x" % byte[0][0], key.encode()).decode()
    return name if len(name) <= LONGEST_NAME else f"_x{hashlib.sha256(key.encode()).hexdigest()}"


def _json(**content: Any) -> bytes:
    return json.dumps(content).encode()
