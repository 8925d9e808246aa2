"""Homes of Prefect whose database is ready: its migrations take ten seconds, and the tests start several servers."""

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

PREPARE = "from {{ cookiecutter.package_name }}.durable.server import prepare; prepare()"


def variables(folder: Path) -> dict[str, str]:
    """Return the variables that give a server a home and a database of its own in a folder."""
    database = f"sqlite+aiosqlite:///{folder / 'prefect.db'}"
    return {"PREFECT_HOME": str(folder), "PREFECT_SERVER_DATABASE_CONNECTION_URL": database}


def prepared(folder: Path) -> dict[str, str]:
    """Create a home of Prefect in a folder, with its database; return its variables.

    The environment of Python keeps a copy for the next tests.
    """
    kept = Path(sys.prefix, f"prefect-home-{version('prefect')}")
    found = variables(folder)
    if kept.is_dir():
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        return found
    environment = {**os.environ, **found, "PREFECT_API_URL": ""}
    if subprocess.run([sys.executable, "-c", PREPARE], env=environment, capture_output=True, check=False).returncode:
        # The server will meet the same fault, and says it in one line.
        return found
    new = kept.with_name(f"{kept.name}-{os.getpid()}")
    # The environment may be read-only, or the tests of another process may have been first.
    with suppress(OSError):
        shutil.copytree(folder, new)
        new.rename(kept)
    shutil.rmtree(new, ignore_errors=True)
    return found
