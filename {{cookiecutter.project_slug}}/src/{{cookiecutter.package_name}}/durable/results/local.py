"""Result storage in a folder of this machine.

Results outlive the process that made them, but not the disk. Workers on several machines need one folder that all of
them mount, or an object store.
"""

from pathlib import Path

from prefect.filesystems import LocalFileSystem
from pydantic import Field, field_validator

from .probe import StoreError, probe
from .settings import PREFIX, ProjectSettings, settings


class ResultsSettings(ProjectSettings):
    """Where results are stored."""

    results_dir: Path = Field(default=Path("results"), validate_default=True)
    """The folder for the results of finished tasks, relative to `home`."""

    @field_validator("results_dir")
    @classmethod
    def _in_home(cls, value: Path) -> Path:
        return settings.home / value.expanduser()


LOCAL = "results"
"""The data of this module that exists on this machine only: workers elsewhere cannot reach it."""
NEEDS_SERVER = False
"""Whether the result storage is a block on Prefect's server."""
RESULTS: Path = ResultsSettings().results_dir
"""The `result_storage` of tasks. A folder needs no block on a server, so nothing is registered there."""


def storage() -> Path:
    """Return the `result_storage` for many tasks of one run: for a folder, the same as `RESULTS`."""
    return RESULTS


def endpoints() -> dict[str, str]:
    """Return no settings: a folder has no URL that workers must reach."""
    return {}


def register(replace: bool = False) -> str:
    """Create the folder, and test it by a write, a read and a delete. Idempotent.

    Args:
        replace: not used: only blocks can be replaced.

    Returns:
        A line that says where the results are.

    Raises:
        StoreError: the folder cannot be created, written to or read.
    """
    try:
        RESULTS.mkdir(parents=True, exist_ok=True)
        probe(LocalFileSystem(basepath=str(RESULTS)), lambda name: (RESULTS / name).unlink())
    except OSError as error:
        raise StoreError(
            f"results cannot be kept in {RESULTS}: {error.strerror}; make it a folder that can be written to,"
            f" or set {PREFIX}RESULTS_DIR to another"
        ) from error
    return f"results are kept in {RESULTS}"
