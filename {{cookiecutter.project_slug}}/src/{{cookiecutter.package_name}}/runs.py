"""Which flow runs of this machine have died: each holds a file lock, which the system frees with its process."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from filelock import FileLock, Timeout

from .settings import settings


def _marker(flow_run_id: UUID | str) -> Path:
    return settings.home / "runs" / f"{flow_run_id}.run"


def _lock(marker: Path) -> FileLock:
    return FileLock(marker.with_suffix(".lock"), timeout=0)


@contextmanager
def alive(flow_run_id: UUID | str) -> Iterator[None]:
    """Mark a flow run as at work until the context ends; only a process that is killed leaves the mark behind.

    Raises:
        filelock.Timeout: another process works on that run.
    """
    marker = _marker(flow_run_id)
    marker.parent.mkdir(parents=True, exist_ok=True)
    with _lock(marker):
        marker.touch()
        try:
            yield
        finally:
            marker.unlink()


def dead() -> list[UUID]:
    """Return the flow runs whose process was killed at work, oldest first."""
    found = []
    markers = (settings.home / "runs").glob("*.run")
    for marker in sorted(markers, key=lambda path: path.stat().st_mtime):
        try:
            with _lock(marker):
                found.append(UUID(marker.stem))
        except Timeout:
            continue
    return found


def forget(flow_run_id: UUID) -> None:
    """Take the mark of a dead run away: it is not to be resumed, or was."""
    _marker(flow_run_id).unlink(missing_ok=True)
