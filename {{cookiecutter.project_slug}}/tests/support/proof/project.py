"""What the project has: `python -m tests.support.proof.project` says it as JSON, with the settings of its owner."""

import json
import os
import sys
from typing import Any

from prefect import Flow

from {{ cookiecutter.package_name }}.durable import Cursor, checkpoints, discovery
from {{ cookiecutter.package_name }}.durable.chunks import RESUMES
from {{ cookiecutter.package_name }}.durable.errors import SettingsError
from {{ cookiecutter.package_name }}.durable.settings import (
    PACKAGE,
    PREFIX,
    ProjectSettings,
    env_variables,
    settings,
)


def describe() -> dict[str, Any]:
    """Return the flows of the project, its home, and the settings of its owner in the environment and `.env`."""
    flows = discovery.flows()
    yours = {
        f"{PREFIX}{name.upper()}"
        for name, place in ProjectSettings.names.items()
        if name == "max_rejected" or not place.startswith(f"{PACKAGE}.durable.")
    }
    given = {name.upper(): value for name, value in {**env_variables(), **os.environ}.items() if value is not None}
    return {
        "flows": list(flows),
        "home": str(settings.home),
        # All others lead to places that the proof may not touch.
        "settings": {name: value for name, value in given.items() if name in yours},
        "skips": [name for name, flow in flows.items() if _skips(flow)],
    }


def _skips(flow: Flow[Any, Any]) -> bool:
    """Say whether a second run of a flow skips what is done: without marks, each load of a cursor is a new one."""
    loads_changes = Cursor in vars(sys.modules[flow.fn.__module__]).values()
    return RESUMES and (checkpoints.REMEMBERS or not loads_changes)


if __name__ == "__main__":
    discovery.PACKAGES += sys.argv[1:]
    try:
        print(json.dumps(describe()))
    except SettingsError as error:
        sys.exit(str(error))
