"""No retries: what fails stays failed, and a later run does it."""

from typing import Any

RETRIES: dict[str, Any] = {}
"""The retry options of tasks, as keyword arguments: none."""
FLOW_RETRIES: dict[str, Any] = {}
"""The retry options of flows, as keyword arguments: none."""
