"""What runs here: which durable flow, and whether it only looks for chunks that are left."""

from contextvars import ContextVar

FLOW: ContextVar[str] = ContextVar("FLOW")
"""The name of the durable flow that runs here."""
LOOKING: ContextVar[bool] = ContextVar("LOOKING", default=False)
"""Whether the flow only looks for chunks that are left, without a Prefect server: see `flows.all_done`."""


class ChunksLeftError(Exception):
    """Chunks are left, in a flow that only looks for them."""
