"""Checkpoints in a journal on disk: an append-only file per job, with a short line per step.

The checkpoint follows the step's writes and is flushed to disk: a crash loses no checkpoint, and leaves none for a step
that did not happen. A crash between the two repeats the step. Delivery guarantee: at least once, which an idempotent
upsert makes harmless. Threads and processes of one machine may share a job; two that reach a step at the same time may
both do it. Needs Linux or macOS and a local disk: on a network disk, locks and flushes are only as good as its server.

A line is the CRC-32 of the rest, as 8 hex digits, and a JSON list. The first list is `["job", name]`;
`["total", steps]` and `["done", step, time]` follow in any order.
"""

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import Any
from uuid import uuid4
from zlib import crc32

from .names import JobStatus, checked, once
from .parts import part, sync_folder
from .settings import settings
from .upserts import Connection, transaction

__all__ = ["IN_STORE", "JOBS", "LOCAL", "OUTSIDE", "REMEMBERS", "Checkpoint", "JournalError", "status"]

LOCAL = "checkpoints"
"""The data of this module that exists on this machine only: workers elsewhere cannot reach it."""
REMEMBERS = True
"""Whether a new run skips the steps that earlier runs have done."""
OUTSIDE = True
"""Whether checkpoints are outside the database, and so may outlive it."""
JOBS = ()
"""The columns of the database that hold full names of jobs: none."""
IN_STORE = False
"""Whether checkpoints are in the result storage."""

PIECE = 1 << 20
"""The bytes of a journal that are read at a time, few enough to stay in the processor's cache."""

# Flushes the data and size, without the modification time; macOS has only the full `fsync`.
_flush = getattr(os, "fdatasync", os.fsync)
_encode = json.JSONEncoder(check_circular=False, separators=(",", ":")).encode


class JournalError(OSError):
    """A journal is damaged, and not by a crash. The message says where, and what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint of one job. Jobs with different names do not share steps."""

    job: str

    def __post_init__(self) -> None:
        checked(self.job, "job")

    def remaining(self, keys: Iterable[str]) -> list[str]:
        """Return the keys of the steps that are not done, in order, and store the job's total for `status`.

        Duplicate keys are one step.
        """
        keys = once(keys)
        journal = _journal(self.job)
        done = journal.done()
        remaining = [key for key in keys if key not in done]
        journal.note_total(len(done) + len(remaining))
        return remaining

    @contextmanager
    def step(self, key: str) -> Iterator[Connection | None]:
        """Run a step in a transaction, then write its checkpoint.

        Yields a connection in a transaction, or None if the step is done: then skip it. The transaction commits when
        the block ends, and the checkpoint is written after that; a block that raises leaves neither. Delivery
        guarantee: at least once. Two threads or processes that reach the same step at the same time may both do it.

        Raises:
            OSError: the checkpoint could not be written, on a full disk for instance. The step is done, but will be
                repeated.
        """
        journal = _journal(self.job)
        if checked(key, "step") in journal.done():
            yield None
            return
        with transaction() as connection:
            yield connection
        journal.mark(key)

    def done(self) -> set[str]:
        """Return the keys of all steps of the job that are done."""
        return set(_journal(self.job).done())

    def reset(self) -> bool:
        """Delete the job's checkpoints, so that it starts again. What its steps have written stays.

        Returns:
            Whether the job had any.
        """
        return _journal(self.job).remove()

    def compact(self) -> None:
        """Rewrite the journal without duplicates and damaged lines. The steps of damaged lines are done again.

        Other processes may work on the job meanwhile.
        """
        _journal(self.job).compact()


def status() -> list[JobStatus]:
    """Return the progress of jobs with a known total, by name."""
    found = []
    for path in _folder().glob("*.journal"):
        job, total, done = _Journal(path).read()
        if job is not None and total is not None:
            found.append(JobStatus(job, done, total))
    return sorted(found)


def _folder() -> Path:
    return settings.home / "checkpoints"


def _line(*record: Any) -> bytes:
    body = _encode(record).encode()
    return b"%08x %b\n" % (crc32(body), body)


class _Journal:
    """A journal file, and what this process has read of it.

    The lock is `flock` on the journal itself: opening a lock file for each step costs more than the flush to disk. It
    excludes other processes. Threads share the descriptor, so a mutex excludes them.
    """

    def __init__(self, path: Path, job: str | None = None) -> None:
        self.path = path
        self.name_on_disk = str(path)
        self.job = job
        self.mutex = threading.Lock()
        self.descriptor: int | None = None
        self._forget()

    def _forget(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
        self.descriptor = None
        self.identity = (0, 0)
        self.size = 0
        """The bytes up to the end of the last complete line that was read."""
        self.lines = 0
        self.name: str | None = None
        self.total: int | None = None
        self.steps: set[str] = set()
        self.lasting = False
        """Whether the file's name is flushed to disk too."""
        self.torn = False
        """Whether bytes follow the last complete line."""

    def done(self) -> set[str]:
        """Return the steps that are done, as the live set, not a copy."""
        with self.mutex:
            # `fstat` is faster than `stat` by name; a file that others have removed or replaced has no link left.
            found = os.fstat(self.descriptor) if self.descriptor is not None else None
            if found is None or found.st_size != self.size or not found.st_nlink:
                try:
                    fcntl.flock(self._lock(create=False), fcntl.LOCK_UN)
                except FileNotFoundError:
                    self._forget()
            return self.steps

    def read(self) -> tuple[str | None, int | None, int]:
        """Return the job's name, its total and its number of finished steps, and close the file."""
        done = len(self.done())
        found = self.name, self.total, done
        self._forget()
        return found

    def mark(self, key: str) -> None:
        # Assembled by hand: a JSON encoder costs more than everything else but the flush.
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        body = f'["done",{encode_basestring_ascii(key)},"{now}"]'.encode()
        line = b"%08x %b\n" % (crc32(body), body)
        with self.mutex:
            descriptor = self._lock(create=True)
            try:
                # Another thread or process may have done the step meanwhile.
                if key not in self.steps:
                    self._append(descriptor, line)
                    self.steps.add(key)
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)

    def note_total(self, total: int) -> None:
        with self.mutex:
            descriptor = self._lock(create=True)
            try:
                if total != self.total:
                    self._append(descriptor, _line("total", total))
                    self.total = total
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)

    def remove(self) -> bool:
        with self.mutex:
            try:
                # Under the lock, so that no process appends to a removed file.
                descriptor = self._lock(create=False, read=False)
            except FileNotFoundError:
                return False
            try:
                self.path.unlink()
                sync_folder(self.path.parent)
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            self._forget()
            return True

    def compact(self) -> None:
        with self.mutex:
            try:
                descriptor = self._lock(create=False, read=False)
            except FileNotFoundError:
                return
            try:
                self._rewrite(descriptor)
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            # The name now belongs to another file, for this process too.
            self._forget()

    def _rewrite(self, descriptor: int) -> None:
        records = self._records(_whole_lines(_read(descriptor, 0))[0])
        total = [record for record in records if record[0] == "total"][-1:]
        done = {record[1]: record for record in records if record[0] == "done"}
        new = self.path.with_name(f"{self.path.name}.{uuid4().hex}.part")
        try:
            with new.open("xb") as file:
                file.writelines(_line(*record) for record in [("job", self.job), *total, *done.values()])
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path)
        except OSError:
            new.unlink(missing_ok=True)
            raise
        sync_folder(self.path.parent)

    def _lock(self, create: bool, read: bool = True) -> int:
        """Lock the file that has the journal's name now, and read it; return the descriptor, for the caller to unlock.

        Raises:
            FileNotFoundError: the file does not exist, and `create` is false.
        """
        while True:
            descriptor = self._open(create) if self.descriptor is None else self.descriptor
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            try:
                size = self._size()
                if size is not None:
                    if read:
                        self._load(descriptor, size)
                    return descriptor
            except BaseException:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
                raise
            # Another file has the name now; closing the old one unlocks it.
            self._forget()

    def _size(self) -> int | None:
        """Return the file's size in bytes, or None if the name now belongs to another file.

        A replacement cannot have the same inode number while this file is open.
        """
        try:
            found = os.stat(self.name_on_disk)
        except FileNotFoundError:
            return None
        return found.st_size if (found.st_dev, found.st_ino) == self.identity else None

    def _open(self, create: bool) -> int:
        if create:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        self.descriptor = os.open(self.path, os.O_RDWR | (os.O_CREAT if create else 0), 0o666)
        found = os.fstat(self.descriptor)
        self.identity = (found.st_dev, found.st_ino)
        return self.descriptor

    def _load(self, descriptor: int, size: int) -> None:
        """Read the lines that were appended since the last time.

        A crash may cut the end of the file short: nobody was told that this part was written. A damaged line before
        a complete one is different: its step would be done again unnoticed.
        """
        self.torn = size != self.size
        if not self.torn:
            return
        if size < self.size:
            self.size = self.lines = 0
            self.steps = set()
            self.name = self.total = None
        while self.size < size:
            bodies, length, damaged = _whole_lines(os.pread(descriptor, PIECE, self.size))
            if not bodies:
                bodies, length, damaged = _whole_lines(_read(descriptor, self.size))
            if damaged is not None:
                raise JournalError(
                    f"{self.path}, line {self.lines + damaged + 1}, is damaged, and not by a crash, for whole lines"
                    " follow: Checkpoint(job).compact() leaves it out, and its step is done again; reset() has all"
                    " steps done again"
                )
            if not bodies:
                if not self.lines and _read(descriptor, 0).count(b"\n") > 2:
                    raise JournalError(
                        f"{self.path} is not a journal, or all of it is damaged: remove it, or put it back"
                    )
                break
            self._learn(bodies)
            self.size += length
            self.lines += len(bodies)
        self.torn = size != self.size

    def _learn(self, bodies: list[bytes]) -> None:
        # Nearly all lines have one form, with six quotes: splitting there takes a fraction of the time of JSON.
        words = b",".join(bodies).decode().split('"')
        if words[1::6] == ["done"] * len(bodies) and not any("\\" in word for word in words[3::6]):
            self.steps.update(words[3::6])
            return
        for kind, value, *_ in self._records(bodies):
            if kind == "done":
                self.steps.add(value)
            elif kind == "total":
                self.total = value
            else:
                self.name = value

    def _records(self, bodies: list[bytes]) -> list[Any]:
        # All at once, which is several times faster than line by line.
        try:
            records: list[Any] = json.loads(b"[%b]" % b",".join(bodies))
            unknown = {kind for kind, _, *_ in records} - {"job", "total", "done"}
        except (TypeError, ValueError) as error:
            raise JournalError(f"{self.path} has lines that are not of a journal: remove it, or put it back") from error
        if unknown:
            raise JournalError(f"{self.path} has lines that this version does not know: {unknown.pop()!r}")
        if self.job and (names := {record[1] for record in records if record[0] == "job"} - {self.job}):
            raise JournalError(
                f"{self.path} is not the journal of job {self.job!r} but of {names.pop()!r}: it was renamed or copied;"
                " remove it, and all steps of the job are done again"
            )
        return records

    def _append(self, descriptor: int, line: bytes) -> None:
        """Append a line: it is on disk when this returns, or not in the file if this raises OSError."""
        if self.name is None:
            line = _line("job", self.job) + line
        if self.torn:
            # A new line behind the rest of a torn one would become part of it, and be lost.
            os.ftruncate(descriptor, self.size)
        try:
            written = 0
            while written < len(line):
                # On a full disk a write is partial, and only the next one raises.
                written += os.pwrite(descriptor, line[written:], self.size + written)
            _flush(descriptor)
            if not self.lasting:
                sync_folder(self.path.parent)
                sync_folder(self.path.parent.parent)
                self.lasting = True
        except OSError:
            os.ftruncate(descriptor, self.size)
            raise
        self.lines += line.count(b"\n")
        self.size += len(line)
        self.name = self.job


def _read(descriptor: int, start: int) -> bytes:
    parts = []
    while piece := os.pread(descriptor, 1 << 24, start):
        parts.append(piece)
        start += len(piece)
    return b"".join(parts)


def _whole_lines(data: bytes) -> tuple[list[bytes], int, int | None]:
    """Return the JSON of the complete lines, the bytes up to the end of the last one, and the first damaged line.

    The last value is the index of the first damaged line before a complete one, or None.
    """
    lines = data.split(b"\n")
    unfinished = len(lines.pop())
    bodies = [line[9:] for line in lines]
    # `map`, because this is most of the time of resuming a job with many steps.
    whole = list(map(bytes.startswith, lines, [b"%08x " % check for check in map(crc32, bodies)]))
    if all(whole):
        return bodies, len(data) - unfinished, None
    end = max((place for place, good in enumerate(whole) if good), default=-1) + 1
    damaged = whole.index(False)
    bodies = [body for body, good in zip(bodies[:end], whole, strict=False) if good]
    return bodies, sum(map(len, lines[:end])) + end, damaged if damaged < end else None


_journals: dict[tuple[Path, str], _Journal] = {}
_guard = threading.Lock()


def _journal(job: str) -> _Journal:
    with _guard:
        key = (settings.home, job)
        if key not in _journals:
            _journals[key] = _Journal(_folder() / f"{part(job)}.journal", job)
        return _journals[key]


def _after_fork() -> None:
    """Close the inherited journals: a forked process shares its parent's descriptors, and so its locks."""
    global _guard  # noqa: PLW0603
    _guard = threading.Lock()
    for journal in _journals.values():
        if journal.descriptor is not None:
            os.close(journal.descriptor)
    _journals.clear()


os.register_at_fork(after_in_child=_after_fork)
