"""Where finished tasks keep their results: a folder of this machine.

Results outlive the process that made them, not the disk. Workers on several machines need one folder that all of them
mount, or an object store.
"""

from pathlib import Path
from uuid import uuid4

from .settings import settings

RESULTS: Path = settings.results_dir
"""What a task takes as `result_storage`. A folder needs no block on a server, so there is nothing to register there."""


def register() -> str:
    """Make the folder and prove by a write, a read and a delete that results can be kept in it. Idempotent.

    Returns:
        One line that says where the results are.

    Raises:
        OSError: the folder cannot be made, written to or read.
    """
    RESULTS.mkdir(parents=True, exist_ok=True)
    probe = RESULTS / f".probe-{uuid4().hex}"
    probe.write_text("probe")
    try:
        if probe.read_text() != "probe":
            raise OSError(f"{RESULTS} does not give back what was written to it")
    finally:
        probe.unlink()
    return f"results are kept in {RESULTS}"
