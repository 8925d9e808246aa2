"""Effects outside the database, such as requests: at least once, or exactly once with the receiver's help.

No checkpoint can know whether an interrupted request took effect. So it is sent again, with the same key: a receiver
that honours `Idempotency-Key` applies it once. A receiver that does not may apply it again.
"""

from typing import Any

import httpx

from .idempotency import JSON, idempotency_key
from .tasks import durable_task

TIMEOUT = 30.0
"""Seconds for the service to connect, and for each part of its response."""


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
