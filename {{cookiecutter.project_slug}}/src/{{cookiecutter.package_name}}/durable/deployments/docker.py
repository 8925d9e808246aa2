"""Deployment with Docker: each run is a container of the project's image."""

import os

from prefect.blocks.system import Secret
from pydantic import SecretStr

from . import upserts
from .settings import PROJECT, env_variables

START_SERVER = "make up"
"""The command that starts a Prefect server."""
DISK_LASTS = True
"""Whether `home` outlives a run: it is a volume."""
DATABASE_BLOCK = f"{PROJECT}-database-url"
"""The name of the Secret block for the database's URL, which `work-pool.json` uses."""
DATABASE_VARIABLE = "RUNS_DATABASE_URL"
"""The variable, in the environment or `.env`, with the database's URL for containers; default: `compose.yaml`."""


def prepare_server() -> None:
    """Store the database's URL on the Prefect server, encrypted, for the worker's containers. Idempotent."""
    if upserts.CONTAINER_URL:
        known = {**env_variables(), **os.environ}
        url = SecretStr(known.get(DATABASE_VARIABLE) or upserts.CONTAINER_URL)
        Secret(value=url).save(DATABASE_BLOCK, overwrite=True)
