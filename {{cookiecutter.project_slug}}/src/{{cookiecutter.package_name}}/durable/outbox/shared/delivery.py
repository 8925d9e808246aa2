"""Delivery of effects: requests with an idempotency key, several at a time, over connections that are used again.

A receiver that is down or busy is left alone for the rest of the attempt. Headers such as Authorization come from your
code at the time of delivery; they are neither stored nor logged.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import httpx
from pydantic import Field

from .errors import one_line
from .settings import ProjectSettings


class DeliverySettings(ProjectSettings):
    """How effects are delivered."""

    outbox_requests: int = Field(default=8, ge=1, le=64)
    """Requests at a time."""


delivery_settings = DeliverySettings()

TIMEOUT = 30.0
"""Seconds that a receiver may take to connect, and for each part of its answer."""
BATCH_SECONDS = 60.0
"""No request of a batch starts later than this: PostgreSQL ends an idle transaction after five minutes."""
FAILURES_IN_A_ROW = 5
"""After so many, a receiver is left alone."""
CONCERNS_ALL = {401, 407, 429, 503}
"""Statuses that concern all requests to a receiver: it is left alone at once."""
MAY_PASS = {401, 407, 408, 425, 429}
"""Client errors that do not refuse an effect for good: the receiver is busy, or the credentials are wrong."""
LONGEST_REASON = 300
"""Characters of a refusal that are kept."""

Headers = Callable[[], Mapping[str, str]]
_headers: dict[str, Headers] = {}
"""By the beginning of URLs."""


class DeliveryError(Exception):
    """A request has failed in a way that may pass. A retry policy reads its cause, or its status and headers."""

    def __init__(self, receiver: str, reason: str, answer: httpx.Response | None = None) -> None:
        super().__init__(f"{receiver}: {reason}")
        self.status_code = answer.status_code if answer else None
        self.headers = answer.headers if answer else {}


def delivery_headers(url: str) -> Callable[[Headers], Headers]:
    """Give the requests to a receiver their headers, such as Authorization, when they are delivered.

    The function is called once a batch of requests. Its headers are neither stored nor logged.

    Args:
        url: how the URLs of the receiver begin. If several fit, the longest counts.

    Raises:
        ValueError: `url` is no URL of HTTP, or holds a password.

    Example:
        @delivery_headers("https://crm.example.com/")
        def crm_headers() -> dict[str, str]:
            return {"Authorization": f"Bearer {settings.crm_token.get_secret_value()}"}
    """
    prefix = checked_url(url, "delivery_headers")

    def register(headers: Headers) -> Headers:
        _headers[prefix] = headers
        return headers

    return register


def checked_url(url: str, item: str) -> str:
    """Return the URL of an effect in ASCII.

    Raises:
        ValueError: it is no URL of HTTP, has more than 2000 characters, or holds a password.
    """
    try:
        parsed = _parsed(url)
    except (httpx.InvalidURL, TypeError):
        raise ValueError(f"the URL of {item!r} cannot be read; write https://HOST/PATH") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(f"the URL of {item!r} must begin with https:// or http:// and a host")
    if parsed.userinfo:
        raise ValueError(f"the URL of {item!r} holds a password; use delivery_headers, which stores nothing")
    if len(found := str(parsed)) > 2000:
        raise ValueError(f"the URL of {item!r} has {len(found)} characters; at most 2000 are kept")
    return found


@lru_cache(maxsize=1000)
def _parsed(url: str) -> httpx.URL:
    return httpx.URL(url)


def receiver_of(url: str) -> str:
    """Return the scheme, host and port of a URL."""
    parsed = _parsed(url)
    return f"{parsed.scheme}://{parsed.netloc.decode()}"


class Delivery:
    """One attempt at delivering effects, batch by batch. What fails in it waits for the next attempt.

    Args:
        client: makes the requests.
        pool: runs them, several at a time.
    """

    def __init__(self, client: httpx.Client, pool: ThreadPoolExecutor) -> None:
        self.failed: dict[int, DeliveryError] = {}
        """Why requests failed, by the id of the effect."""
        self.resting: set[str] = set()
        """The receivers that are left alone."""
        self._client = client
        self._pool = pool
        self._failures_in_a_row: Counter[str] = Counter()

    def deliver(self, effects: Sequence[Any]) -> dict[int, str]:
        """Send a batch of effects; those with one ordering key one after the other, up to the first that fails.

        Args:
            effects: rows of the outbox, in their order.

        Returns:
            The effects that were delivered, by id, with an empty text, and those that were refused, with the reason.

        Raises:
            ValueError: `delivery_headers` gives a header that is not printable ASCII.
        """
        lanes: dict[object, list[Any]] = {}
        for effect in effects:
            lanes.setdefault(effect.ordering_key or effect.id, []).append(effect)
        # Before the first request: what the owner's function raises must not lose the outcome of any.
        headers = {prefix: _call(prefix) for prefix in {_prefix(effect.url) for effect in effects}}
        deadline = time.monotonic() + BATCH_SECONDS

        def deliver_lane(lane: Sequence[Any]) -> dict[int, str]:
            outcomes: dict[int, str] = {}
            for effect in lane:
                if effect.refused or effect.receiver in self.resting or time.monotonic() > deadline:
                    break
                try:
                    outcomes[effect.id] = self._send(effect, headers[_prefix(effect.url)])
                except DeliveryError as error:
                    self._note_failure(effect, error)
                    break
                self._failures_in_a_row[effect.receiver] = 0
                if outcomes[effect.id]:
                    break
            return outcomes

        found: dict[int, str] = {}
        for outcomes in self._pool.map(deliver_lane, lanes.values()):
            found |= outcomes
        return found

    def _send(self, effect: Any, headers: Mapping[str, str]) -> str:
        """Make the request of an effect; return why it is refused for good, or an empty text if it is delivered."""
        sent = {"Content-Type": "application/json", **headers, "Idempotency-Key": effect.key}
        try:
            answer = self._client.post(effect.url, content=effect.payload, headers=sent)
        except httpx.RequestError as error:
            raise DeliveryError(effect.receiver, one_line(error)) from error
        if answer.is_success:
            return ""
        status = f"{answer.status_code} {answer.reason_phrase}".rstrip()
        if answer.status_code in MAY_PASS or answer.is_server_error:
            raise DeliveryError(effect.receiver, status, answer)
        # A receiver may quote the headers that it got.
        said = " ".join(answer.text.replace("\0", "").split())
        for secret in sorted(" ".join(headers.values()).split(), key=len, reverse=True):
            said = said.replace(secret, "…")
        return f"{status}: {said}"[:LONGEST_REASON].removesuffix(": ")

    def _note_failure(self, effect: Any, error: DeliveryError) -> None:
        self.failed[effect.id] = error
        self._failures_in_a_row[effect.receiver] += 1
        if error.status_code in CONCERNS_ALL or self._failures_in_a_row[effect.receiver] >= FAILURES_IN_A_ROW:
            self.resting.add(effect.receiver)


def _prefix(url: str) -> str:
    """Return the longest URL of `delivery_headers` that another one begins with, or an empty text."""
    fitting = [prefix for prefix in _headers if url.startswith(prefix) and receiver_of(prefix) == receiver_of(url)]
    return max(fitting, key=len, default="")


def _call(prefix: str) -> dict[str, str]:
    headers = dict(_headers[prefix]()) if prefix else {}
    for name, value in headers.items():
        # Else an error further down would quote the value.
        if not (value.isascii() and value.isprintable()):
            raise ValueError(f"the header {name} of {prefix}, from delivery_headers, is not printable ASCII")
    return headers
