"""Deployment with Kubernetes: each run is a pod of the project's image."""

START_SERVER = "make ui"
"""The command that starts a Prefect server."""
DISK_LASTS = False
"""Whether `home` outlives a run: it ends with the pod."""


def prepare_server() -> None:
    """Do nothing: the server needs only `prefect.yaml`."""
