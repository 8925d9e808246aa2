"""Effects outside the database, such as requests: at least once, or exactly once with the receiver's help.

No checkpoint can know whether an interrupted request took effect. So it is sent again, with the same key: a receiver
that honours `Idempotency-Key` applies it once. A receiver that does not may apply it again.
"""

import hashlib
import json
from typing import Any

import httpx

from .tasks import durable_task

JSON = bool | int | float | str | list[Any] | dict[str, Any] | None

TIMEOUT = 30.0
"""Seconds for the service to connect, and for each part of its response."""


def idempotency_key(job: str, item: str, payload: JSON) -> str:
    """Compute the idempotency key of an effect: equal in all processes, different for another job, item or payload.

    Args:
        job: the work that the effect is part of.
        item: what the effect is about, in that job: two equal effects of one job need two items.
        payload: what is sent. Plain JSON; the order of a dict's keys makes no difference.

    Returns:
        64 hex digits.

    Raises:
        ValueError: JSON changes the payload: it holds a tuple, a key that is not a string, or NaN, for instance.
    """
    try:
        text = json.dumps(payload, sort_keys=True, separators=(",", ":"), allow_nan=False)
        same = json.loads(text) == payload
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"the payload of {item!r} is not plain JSON: {error}; use str() of a decimal and isoformat() of a timestamp"
        ) from error
    if not same:
        raise ValueError(
            f"the payload of {item!r} does not come back from JSON as it was; pass lists for tuples, and dicts whose"
            " keys are text"
        )
    # The two are hashed as JSON, so that ("a", "bc") and ("ab", "c") differ.
    return hashlib.sha256(f"{json.dumps([job, item])}\n{text}".encode()).hexdigest()


@durable_task(version="1")
def post(url: str, job: str, item: str, payload: JSON) -> dict[str, Any]:
    """Send a payload to a service with an idempotency key: an example to start from.

    Delivery guarantee: at least once. A process killed after the service has acted, and before the result is stored,
    sends it again. Exactly once if the receiver honours the key.

    Args:
        url: the URL of the service.
        job: the work that the effect is part of; see `idempotency_key`.
        item: what the effect is about, in that job.
        payload: plain JSON.

    Returns:
        The status of the response and the key: `{"status": 200, "key": "…"}`.

    Raises:
        httpx.HTTPError: the service cannot be reached, breaks off, or responds with an error.
        ValueError: the payload is not plain JSON.
    """
    key = idempotency_key(job, item, payload)
    answer = httpx.post(url, json=payload, headers={"Idempotency-Key": key}, timeout=TIMEOUT)
    answer.raise_for_status()
    return {"status": answer.status_code, "key": key}
