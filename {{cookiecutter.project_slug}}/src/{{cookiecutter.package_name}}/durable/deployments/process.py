"""Deployment with a worker's processes, on a machine with the project."""

START_SERVER = "make ui"
"""The command that starts a Prefect server."""
DISK_LASTS = True
"""Whether `home` outlives a run."""


def prepare_server() -> None:
    """Do nothing: the server needs only `prefect.yaml`."""
