"""How a long job remembers what is done: a journal on disk, one short line a step, which is only ever appended to.

The mark comes after the step's effect and is flushed to the disk, so that no crash loses a mark or marks what has not
happened. A crash between the two has the step done again: at least once, and harmless where the effect may be repeated,
as an upsert may. Several threads and processes of one machine may work on a job; of two at the same step at the same
time both may do it. Linux and macOS, on a disk of this machine: locks and flushes of a network's disk are as good as
its server.

A line is the CRC-32 of the rest, as 8 hex digits, and a JSON list: `["job", name]` is the first one, then
`["total", steps]` and `["done", step, time]` in any order.
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

__all__ = ["IN_STORE", "LOCAL", "OUTSIDE", "REMEMBERS", "Checkpoint", "JournalError", "status"]

LOCAL = "checkpoints"
"""What of this module is on this machine alone: workers elsewhere do not reach it."""
REMEMBERS = True
"""Whether a new run finds what an earlier one has done."""
OUTSIDE = True
"""Whether checkpoints are outside of the database, so that they outlive it."""
IN_STORE = False
"""Whether they are in the store of results."""

PIECE = 1 << 20
"""Bytes of a journal that are read at a time, few enough to stay in the processor's cache."""

# The data and the size, not the time of the last change; macOS has only the whole.
_flush = getattr(os, "fdatasync", os.fsync)
_encode = json.JSONEncoder(check_circular=False, separators=(",", ":")).encode


class JournalError(OSError):
    """A journal is damaged otherwise than by a crash. The message says where, and what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """What is done of one job. Jobs with different names do not see each other's steps."""

    job: str

    def __post_init__(self) -> None:
        checked(self.job, "job")

    def remaining(self, keys: Iterable[str]) -> list[str]:
        """Return the keys of those steps that are not done, in their order, and note the job's total for `status`.

        A key that stands there twice is one step.
        """
        keys = once(keys)
        journal = _journal(self.job)
        done = journal.done()
        remaining = [key for key in keys if key not in done]
        journal.note_total(len(done) + len(remaining))
        return remaining

    @contextmanager
    def step(self, key: str) -> Iterator[Connection | None]:
        """Do a step in a transaction, then mark it as done.

        Yields a connection in a transaction, to write with, or None where the step is done already: then skip it. The
        transaction commits when the block ends, and the checkpoint is written after that; a block that raises leaves
        neither. Delivery guarantee: at least once. Two threads or processes that come to the same step at the same
        time are both told to do it.

        Raises:
            OSError: the mark could not be written, say on a full disk. The effect has happened, and will again.
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
        """Forget the job, so that it is done again from the start. What its steps have written stays.

        Returns:
            Whether anything was known of it.
        """
        return _journal(self.job).remove()

    def compact(self) -> None:
        """Write the journal anew without what is said twice in it, and without damaged lines, whose steps are done
        again. Others may work on the job meanwhile.
        """
        _journal(self.job).compact()


def status() -> list[JobStatus]:
    """Return how far each job is whose total is known, by name."""
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
    """A journal, and what this process has read of it.

    The lock is `flock` on the journal itself: opening a lock file for each step costs more than the flush to disk. It
    excludes processes; threads share the descriptor, and so have a lock of their own.
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
        """Bytes up to the end of the last whole line that was read."""
        self.lines = 0
        self.name: str | None = None
        self.total: int | None = None
        self.steps: set[str] = set()
        self.lasting = False
        """Whether the file's name is on the disk too."""
        self.torn = False
        """Whether more stands behind the last whole line."""

    def done(self) -> set[str]:
        """The steps that are done. Not a copy."""
        with self.mutex:
            # Without a name, for that takes longer: a file that others have removed or replaced has no link left.
            found = os.fstat(self.descriptor) if self.descriptor is not None else None
            if found is None or found.st_size != self.size or not found.st_nlink:
                try:
                    fcntl.flock(self._lock(create=False), fcntl.LOCK_UN)
                except FileNotFoundError:
                    self._forget()
            return self.steps

    def read(self) -> tuple[str | None, int | None, int]:
        """The job's name, its total and how many steps are done, for one who looks once."""
        done = len(self.done())
        found = self.name, self.total, done
        self._forget()
        return found

    def mark(self, key: str) -> None:
        # Put together here, for an encoder of lists costs more than all else but the flush.
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        body = f'["done",{encode_basestring_ascii(key)},"{now}"]'.encode()
        line = b"%08x %b\n" % (crc32(body), body)
        with self.mutex:
            descriptor = self._lock(create=True)
            try:
                # Another thread or process may have done it meanwhile.
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
                # Under the lock, so that nobody appends to what is gone.
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
            # Here as in other processes, the file of this name is another one from now on.
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
        """Lock the file that has the name now, and know what is in it; return its descriptor, to be unlocked.

        Raises:
            FileNotFoundError: there is none, and none is to be made.
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
            # Closed, and so unlocked.
            self._forget()

    def _size(self) -> int | None:
        """The bytes of the file, or None if the open file is not the one of that name: others may have put another one
        in its place, which cannot have the same number while this one is open.
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
        """Read what was appended since the last time.

        What stands after the last whole line was cut short by a crash, and nobody was told that it was written. A
        damaged line before a whole one is no such thing: its step would be done again, and nobody would know.
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
        # Nearly all lines are of one form, with six quotes: to cut at these takes a fraction of the time of JSON.
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
        # At once, which is several times faster than one by one.
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
        """Add a line, which is on the disk when this returns, or not in the file when it raises OSError."""
        if self.name is None:
            line = _line("job", self.job) + line
        if self.torn:
            # What a crash cut short. A line behind it would be part of it, and lost.
            os.ftruncate(descriptor, self.size)
        try:
            written = 0
            while written < len(line):
                # A full disk takes a part, and says so at the next try.
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
    """Return the JSON of the whole lines, the number of bytes up to the end of the last one, and the place of the
    first damaged line before it, if there is one.
    """
    lines = data.split(b"\n")
    unfinished = len(lines.pop())
    bodies = [line[9:] for line in lines]
    # `map`, for this is most of the time that it takes to resume a job of many steps.
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
    """A fork has its parent's descriptors, and with them its locks: it begins anew."""
    global _guard  # noqa: PLW0603
    _guard = threading.Lock()
    for journal in _journals.values():
        if journal.descriptor is not None:
            os.close(journal.descriptor)
    _journals.clear()


os.register_at_fork(after_in_child=_after_fork)
