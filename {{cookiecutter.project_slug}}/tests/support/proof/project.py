"""What the project has: `python -m tests.support.proof.project` says it as JSON, with the settings of its owner."""

import json
import os
import sys
from typing import Any

from {{ cookiecutter.package_name }}.durable import discovery
from {{ cookiecutter.package_name }}.durable.chunks import RESUMES
from {{ cookiecutter.package_name }}.durable.errors import SettingsError
from {{ cookiecutter.package_name }}.durable.runners import task_runner
from {{ cookiecutter.package_name }}.durable.settings import PREFIX, ProjectSettings, env_variables, settings


def describe() -> dict[str, Any]:
    """Return the flows of the project, its home, and the settings of its owner in the environment and `.env`."""
    flows = list(discovery.flows())
    places = {f"{PREFIX}{name.upper()}": place for name, place in ProjectSettings.names.items()}
    given = {name.upper(): value for name, value in {**env_variables(), **os.environ}.items() if value is not None}
    return {
        "flows": flows,
        "home": str(settings.home),
        # All others lead to places that the proof may not touch.
        "settings": {name: value for name, value in given.items() if ".durable." not in places.get(name, ".durable.")},
        "resumes": RESUMES,
        "cluster": type(task_runner()).__name__ != "ThreadPoolTaskRunner",
    }


if __name__ == "__main__":
    discovery.PACKAGES += sys.argv[1:]
    try:
        print(json.dumps(describe()))
    except SettingsError as error:
        sys.exit(str(error))
