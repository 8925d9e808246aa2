"""Where deployed runs run: pods of a Kubernetes cluster, each of the project's image."""

START_SERVER = "make ui"
"""What starts a Prefect server here."""
DISK_LASTS = False
"""Whether `home` outlives a run: it ends with the pod."""


def prepare_server() -> None:
    """Tell the Prefect server what runs need, beside `prefect.yaml`: nothing. Idempotent."""
