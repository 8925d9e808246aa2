"""Locks on cache keys: of two simultaneous calls of a task with one key, the second waits for the first one's result.

The locks are file locks of the operating system in `<home>/locks`: a killed process, by SIGKILL too, frees its own.
They work between threads and processes that share that folder, on one machine. For several machines, let a database
decide, or make the task idempotent.
"""

import asyncio
import hashlib
import threading
import time
from typing import Any

from filelock import FileLock, Timeout
from prefect.locking.protocol import LockManager

from .cache_keys import CACHING
from .settings import settings

POLL = 0.05
"""Seconds between attempts to take a lock."""


class FileLocks(LockManager):
    """Prefect's lock manager with file locks; `prefect.locking.protocol` documents its methods.

    A lock belongs to Prefect's holder, and also to the thread or asyncio task that took it. Prefect 3.9 drops the
    holder's name when it finds a stored result and then fails to read it: the retry would wait for itself.
    """

    def __init__(self) -> None:
        self._held: dict[str, tuple[str, object, FileLock]] = {}

    def __reduce__(self) -> str:
        # A task that is sent to another process uses that process's locks.
        return "LOCKS"

    def acquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        """Wait for the lock. `hold_timeout` is ignored: a lock is held until it is released or its process ends."""
        deadline = _deadline(acquire_timeout)
        while not self._acquire(key, holder):
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL)
        return True

    async def aacquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        deadline = _deadline(acquire_timeout)
        while not self._acquire(key, holder):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(POLL)
        return True

    def release_lock(self, key: str, holder: str) -> None:
        """Release the lock, if this holder has it: Prefect may release twice."""
        if self.is_lock_holder(key, holder):
            *_, lock = self._held.pop(key)
            lock.release()

    def is_locked(self, key: str) -> bool:
        if key not in self._held:
            try:
                with _lock(key).acquire(timeout=0):
                    return False
            except Timeout:
                pass
        return True

    def is_lock_holder(self, key: str, holder: str) -> bool:
        name, actor, _ = self._held.get(key, (None, None, None))
        return holder == name or actor == _actor()

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        deadline = _deadline(timeout)
        while self.is_locked(key):
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL)
        return True

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:
        deadline = _deadline(timeout)
        while self.is_locked(key):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(POLL)
        return True

    def _acquire(self, key: str, holder: str) -> bool:
        if not self.is_lock_holder(key, holder):
            lock = _lock(key)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                return False
            self._held[key] = holder, _actor(), lock
        return True


def _lock(key: str) -> FileLock:
    folder = settings.home / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    # A key can be any text, so the file is named by its digest. Prefect may release a lock in another thread.
    return FileLock(folder / f"{hashlib.sha256(key.encode()).hexdigest()}.lock", thread_local=False)


def _deadline(timeout: float | None) -> float:
    return float("inf") if timeout is None else time.monotonic() + timeout


def _actor() -> object:
    try:
        return asyncio.current_task() or threading.get_ident()
    except RuntimeError:  # no event loop runs here
        return threading.get_ident()


LOCKS = FileLocks()
"""The locks of this process."""

ONCE: dict[str, Any] = {
    "cache_policy": CACHING["cache_policy"].configure(isolation_level="SERIALIZABLE", lock_manager=LOCKS),
}
"""Options for a task that must not run twice at a time with the same key: `@durable_task(version="1", **ONCE)`.

Without them, two calls before the first result is stored both run. With them, the second call waits and gets that
result. If the first call fails or its process is killed, the second one runs.
"""
