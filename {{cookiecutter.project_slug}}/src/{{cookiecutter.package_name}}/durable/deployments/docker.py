"""Where deployed runs run: containers of a Docker engine, each of the project's image."""

import os

from prefect.blocks.system import Secret
from pydantic import SecretStr

from . import upserts
from .settings import PROJECT, env_variables

START_SERVER = "make up"
"""What starts a Prefect server here."""
DISK_LASTS = True
"""Whether `home` outlives a run: it is a volume."""
DATABASE_BLOCK = f"{PROJECT}-database-url"
"""The Secret block of that name is what `work-pool.json` names."""
DATABASE_VARIABLE = "RUNS_DATABASE_URL"
"""Of the environment or of `.env`: the database as runs in containers reach it, if it is not that of `compose.yaml`."""


def prepare_server() -> None:
    """Keep the database's URL on the Prefect server, encrypted; the worker gives it to its containers. Idempotent."""
    if upserts.CONTAINER_URL:
        known = {**env_variables(), **os.environ}
        url = SecretStr(known.get(DATABASE_VARIABLE) or upserts.CONTAINER_URL)
        Secret(value=url).save(DATABASE_BLOCK, overwrite=True)
