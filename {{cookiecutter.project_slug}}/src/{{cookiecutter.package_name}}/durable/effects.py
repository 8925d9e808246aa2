"""Effects outside the database, such as requests: at least once, and exactly once with the service's help.

No checkpoint can know whether a request that was cut off has had its effect. So it is sent again, with the same key: a
receiver that honours `Idempotency-Key` applies it once. One that does not may apply it again.
"""

import hashlib
import json
from typing import Any

import httpx

from .tasks import durable_task

JSON = bool | int | float | str | list[Any] | dict[str, Any] | None

TIMEOUT = 30.0
"""Seconds that a service may take to connect, and for each part of its answer."""


def idempotency_key(job: str, item: str, payload: JSON) -> str:
    """Return the name of an effect: the same in every process, and another one for any other job, item or payload.

    Args:
        job: the work that the effect is part of.
        item: what it is about, in that job: two equal effects of one job need two items.
        payload: what is sent. Plain JSON; the order of a dict's keys makes no difference.

    Returns:
        64 hex digits.

    Raises:
        ValueError: the payload does not come back from JSON as it was, such as a tuple, a key that is no text, or NaN.
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
    # As JSON, so that ("a", "bc") and ("ab", "c") differ.
    return hashlib.sha256(f"{json.dumps([job, item])}\n{text}".encode()).hexdigest()


@durable_task(version="1")
def post(url: str, job: str, item: str, payload: JSON) -> dict[str, Any]:
    """Send a payload to a service, under the key of this effect: an example to start from.

    At least once: a process that is killed after the service has acted, and before the result is stored, sends it
    again. A receiver that honours the key makes it exactly once; without one the effect may be repeated.

    Args:
        url: of the service.
        job: as for `idempotency_key`, and so the others.
        item: what the effect is about.
        payload: plain JSON.

    Returns:
        The status of the answer and the key: `{"status": 200, "key": "…"}`.

    Raises:
        httpx.HTTPError: the service cannot be reached, breaks off, or answers with an error.
        ValueError: the payload is not plain JSON.
    """
    key = idempotency_key(job, item, payload)
    answer = httpx.post(url, json=payload, headers={"Idempotency-Key": key}, timeout=TIMEOUT)
    answer.raise_for_status()
    return {"status": answer.status_code, "key": key}
