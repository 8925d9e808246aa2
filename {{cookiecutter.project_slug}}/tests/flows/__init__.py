"""The tests of your flows, and what of the conventions they are exempt from."""

EXEMPT: dict[str, str] = {}
"""Tasks and flows that do not follow a convention: their name, such as `flows.orders.flow.send_mail`, and why."""
TRANSACTIONS: dict[str, str] = {}
"""Modules that use Prefect's transactions all the same: their name, such as `flow`, and why."""
