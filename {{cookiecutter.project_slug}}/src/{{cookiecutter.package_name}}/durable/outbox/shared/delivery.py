"""Delivery of effects: requests with an idempotency key, several at a time, over reused connections.

A receiver that is down or busy gets no more requests in the attempt. Headers such as Authorization come from your code
at delivery; they are neither stored nor logged.
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
    """Settings for the delivery of effects."""

    outbox_requests: int = Field(default=8, ge=1, le=64)
    """Requests at a time."""


delivery_settings = DeliverySettings()

TIMEOUT = 30.0
"""Seconds for a receiver to connect, and for each part of its response."""
BATCH_SECONDS = 60.0
"""Seconds after which a batch starts no more requests: PostgreSQL ends an idle transaction after five minutes."""
FAILURES_IN_A_ROW = 5
"""Failures in a row after which a receiver gets no more requests in the attempt."""
CONCERNS_ALL = {401, 407, 429, 503}
"""Statuses that concern all requests to a receiver: it gets no more in the attempt."""
MAY_PASS = {401, 407, 408, 425, 429}
"""Client errors that do not refuse an effect: the receiver is busy, or the credentials are wrong."""
LONGEST_REASON = 300
"""The maximum number of characters stored of a refusal."""

Headers = Callable[[], Mapping[str, str]]
_headers: dict[str, Headers] = {}
"""The functions that return headers, by URL prefix."""


class DeliveryError(Exception):
    """A request failed in a way that may pass. A retry policy reads its cause, or its status and headers."""

    def __init__(self, receiver: str, reason: str, answer: httpx.Response | None = None) -> None:
        super().__init__(f"{receiver}: {reason}")
        self.status_code = answer.status_code if answer else None
        self.headers = answer.headers if answer else {}


def delivery_headers(url: str) -> Callable[[Headers], Headers]:
    """Register a function that returns the headers for a receiver, such as Authorization.

    The function is called once per batch, at delivery. Its headers are neither stored nor logged.

    Args:
        url: the prefix of the receiver's URLs. If several prefixes match, the longest one applies.

    Raises:
        ValueError: `url` is not an HTTP URL, or contains a password.

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
    """Validate the URL of an effect, and return it in ASCII.

    Raises:
        ValueError: it is not an HTTP URL, has more than 2000 characters, or contains a password.
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
    """One attempt to deliver effects, in batches. What fails waits for the next attempt.

    Args:
        client: the HTTP client for the requests.
        pool: the threads that run them.
    """

    def __init__(self, client: httpx.Client, pool: ThreadPoolExecutor) -> None:
        self.failed: dict[int, DeliveryError] = {}
        """The errors of failed requests, by the id of the effect."""
        self.resting: set[str] = set()
        """The receivers that get no more requests in this attempt."""
        self._client = client
        self._pool = pool
        self._failures_in_a_row: Counter[str] = Counter()

    def deliver(self, effects: Sequence[Any]) -> dict[int, str]:
        """Send a batch of effects. Those with one ordering key are sent in order, up to the first failure.

        Args:
            effects: rows of the outbox, in their order.

        Returns:
            An outcome by effect id: an empty text for a delivered effect, the reason for a refused one.

        Raises:
            ValueError: `delivery_headers` returns a header that is not printable ASCII.
        """
        lanes: dict[object, list[Any]] = {}
        for effect in effects:
            lanes.setdefault(effect.ordering_key or effect.id, []).append(effect)
        # Called before any request: an error in the owner's function must lose no outcome.
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
        """Send the request of an effect; return an empty text if it is delivered, or the reason why it is refused."""
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
        # A receiver may quote the headers of the request.
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
    """Return the longest registered prefix of a URL, or an empty text."""
    fitting = [prefix for prefix in _headers if url.startswith(prefix) and receiver_of(prefix) == receiver_of(url)]
    return max(fitting, key=len, default="")


def _call(prefix: str) -> dict[str, str]:
    headers = dict(_headers[prefix]()) if prefix else {}
    for name, value in headers.items():
        # Otherwise a later error would quote the value.
        if not (value.isascii() and value.isprintable()):
            raise ValueError(f"the header {name} of {prefix}, from delivery_headers, is not printable ASCII")
    return headers
