"""The retry policy of tasks and flows: none. What fails has failed, and a later run does it."""

from typing import Any

RETRIES: dict[str, Any] = {}
"""The policy of all tasks, as keyword arguments."""
FLOW_RETRIES: dict[str, Any] = {}
"""The policy of all flows, as keyword arguments."""
