"""Where deployed runs run: processes of a worker, on a machine that has the project."""

START_SERVER = "make ui"
"""What starts a Prefect server here."""
DISK_LASTS = True
"""Whether `home` outlives a run."""


def prepare_server() -> None:
    """Tell the Prefect server what runs need, beside `prefect.yaml`: nothing. Idempotent."""
