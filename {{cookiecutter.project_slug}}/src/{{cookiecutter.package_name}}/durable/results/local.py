"""Where finished tasks keep their results: a folder of this machine.

Results outlive the process that made them, not the disk. Workers on several machines need one folder that all of them
mount, or an object store.
"""

from pathlib import Path

from prefect.filesystems import LocalFileSystem
from pydantic import Field, field_validator

from .probe import StoreError, probe
from .settings import PREFIX, ProjectSettings, settings


class ResultsSettings(ProjectSettings):
    """Where the results are."""

    results_dir: Path = Field(default=Path("results"), validate_default=True)
    """The folder in which finished tasks keep their results; relative to `home`."""

    @field_validator("results_dir")
    @classmethod
    def _in_home(cls, value: Path) -> Path:
        return settings.home / value.expanduser()


LOCAL = "results"
"""What of this module is on this machine alone: workers elsewhere do not reach it."""
NEEDS_SERVER = False
"""Whether the store is known by a block on Prefect's server."""
RESULTS: Path = ResultsSettings().results_dir
"""What a task takes as `result_storage`. A folder needs no block on a server, so there is nothing to register there."""


def storage() -> Path:
    """Return what to give to many tasks of one run, in place of `RESULTS`: for a folder, the same."""
    return RESULTS


def endpoints() -> dict[str, str]:
    """Return the settings with URLs that workers must reach: none."""
    return {}


def register(replace: bool = False) -> str:
    """Make the folder and prove by a write, a read and a delete that results can be kept in it. Idempotent.

    Args:
        replace: for stores that are known by a name; not used here.

    Returns:
        One line that says where the results are.

    Raises:
        StoreError: the folder cannot be made, written to or read.
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
