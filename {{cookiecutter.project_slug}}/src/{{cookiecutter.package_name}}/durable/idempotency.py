"""Idempotency keys of effects outside the database, by which a receiver knows one that was sent before."""

import hashlib
import json
from typing import Any

JSON = bool | int | float | str | list[Any] | dict[str, Any] | None


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
