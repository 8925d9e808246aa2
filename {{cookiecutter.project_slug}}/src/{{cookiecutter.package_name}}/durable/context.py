"""The context of the current flow: its name, and whether it only looks for chunks that are left."""

from contextvars import ContextVar

FLOW: ContextVar[str] = ContextVar("FLOW")
"""The name of the current durable flow."""
LOOKING: ContextVar[bool] = ContextVar("LOOKING", default=False)
"""Whether the flow only checks for chunks that are left, without a Prefect server: see `flows.all_done`."""


class ChunksLeftError(Exception):
    """Chunks are left, and the flow only checks for them."""
