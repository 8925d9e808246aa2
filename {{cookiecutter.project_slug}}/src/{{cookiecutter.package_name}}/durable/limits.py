"""Rate limits of services on the Prefect server, shared by all runs on one server."""

import math
import threading
import time
from dataclasses import dataclass, field
from typing import ClassVar

import httpx
from prefect import get_client
from prefect.concurrency.sync import rate_limit
from prefect.exceptions import ObjectNotFound

from .settings import PROJECT


def _retry_soon(response: httpx.Response) -> None:
    """Have Prefect's client try again soon: with SQLite, a server often answers 503, for another task is writing.

    Prefect 3.9 waits for 2 s before it tries again, and longer each time.
    """
    if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        response.headers.setdefault("Retry-After", "0.05")


@dataclass(frozen=True)
class RateLimit:
    """A rate limit in calls per second: a global concurrency limit of Prefect with slot decay.

    `make setup`, with PREFECT_API_URL, and `make deploy` create it on that server; otherwise the first call does. Runs
    with temporary servers share it on one machine, if these servers share a database. You can change it in the UI until
    the next `make deploy`.

    Example:
        LIMIT = RateLimit("orders-api", per_second=5)
        LIMIT.wait()
    """

    name: str
    """The name of the service. On the server, the project's name is its prefix."""
    per_second: float
    """Calls per second; 0.1 is one call in ten seconds."""
    _known: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    every: ClassVar[dict[str, "RateLimit"]] = {}
    """All limits of the project, once its flows are imported."""
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __post_init__(self) -> None:
        if self.per_second <= 0:
            raise ValueError(f"the rate limit {self.name} allows {self.per_second} calls a second; allow some")
        RateLimit.every[self.name] = self

    @property
    def full_name(self) -> str:
        """The name on the server."""
        return f"{PROJECT}-{self.name}"

    def wait(self) -> None:
        """Wait until the next call is allowed. Call it in a task, before each request."""
        with self._lock:
            if not self._known:
                self._known.append(self._create())
        # Prefect's `rate_limit` has no such hook. It takes over where the server stays busy.
        with get_client({"event_hooks": {"response": [_retry_soon]}}, sync_client=True) as client:
            while True:
                try:
                    client.increment_concurrency_slots([self.full_name], 1, "rate_limit")
                    return
                except httpx.HTTPStatusError as error:
                    if error.response.status_code != httpx.codes.LOCKED:
                        break
                    time.sleep(float(error.response.headers["Retry-After"]))
        rate_limit(self.full_name)

    def prepare(self) -> str:
        """Create the limit on the server, or reset its rate. Return a line about it."""
        with get_client(sync_client=True) as client:
            client.upsert_global_concurrency_limit_by_name(self.full_name, self._slots(), self.per_second)
        return f"{self.full_name}: {self.per_second:g} calls a second"

    def _create(self) -> str:
        # A person may have changed the existing limit: leave it.
        with get_client(sync_client=True) as client:
            try:
                client.read_global_concurrency_limit_by_name(self.full_name)
            except ObjectNotFound:
                client.upsert_global_concurrency_limit_by_name(self.full_name, self._slots(), self.per_second)
        return self.full_name

    def _slots(self) -> int:
        return math.ceil(self.per_second)
