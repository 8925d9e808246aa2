"""How a task runs once that is called twice at a time with one key: the second call waits for the first one's result.

The locks are those of the system on files in `<home>/locks`, so one that is killed, by SIGKILL too, frees its own.
They hold between threads and between processes that share that folder. That is one machine: for several, let a
database decide, or have the task repeat without harm.
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
"""Seconds between two looks at a lock that is held."""


class FileLocks(LockManager):
    """Prefect's lock manager over file locks: `prefect.locking.protocol` says what each method is to do.

    A lock belongs to a thread, or to a task of asyncio, as much as to the holder that Prefect 3.9 names: it drops that
    name when it finds a stored result and then fails to read it, and the retry would wait for itself.
    """

    def __init__(self) -> None:
        self._held: dict[str, tuple[str, object, FileLock]] = {}

    def __reduce__(self) -> str:
        # A task that is sent to another process uses the locks of that one.
        return "LOCKS"

    def acquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        """Wait for the lock. There is no `hold_timeout`: a lock is held until it is released or its process ends."""
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
        """Free the lock, if it is this holder's: Prefect may release twice."""
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
    # A key can be any text. Prefect may release a lock in another thread.
    return FileLock(folder / f"{hashlib.sha256(key.encode()).hexdigest()}.lock", thread_local=False)


def _deadline(timeout: float | None) -> float:
    return float("inf") if timeout is None else time.monotonic() + timeout


def _actor() -> object:
    try:
        return asyncio.current_task() or threading.get_ident()
    except RuntimeError:  # no event loop runs here
        return threading.get_ident()


LOCKS = FileLocks()
"""Those of this process."""

ONCE: dict[str, Any] = {
    "cache_policy": CACHING["cache_policy"].configure(isolation_level="SERIALIZABLE", lock_manager=LOCKS),
}
"""For a task that must not run twice at a time with the same key: `@durable_task(version="1", **ONCE)`.

Without it, two calls before the first result is stored both run. With it, the second one waits and gets that result; if
the first one fails or its process is killed, the second one runs.
"""
