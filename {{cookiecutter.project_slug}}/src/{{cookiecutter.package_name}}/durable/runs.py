"""Flow runs of this machine, killed or at work: each holds a file lock, which the system frees with its process."""

import sys
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from filelock import FileLock, Timeout

from .settings import settings


class DeadRun(NamedTuple):
    """A flow run whose process was killed."""

    id: UUID
    flow: str
    """The name of its flow; empty for runs of version 0.1."""

    def advice(self, flows: Container[str]) -> str:
        """Return what to do about it, given the names of the project's flows."""
        if self.flow and self.flow not in flows:
            job = self.flow.removeprefix("load-")
            return f"its flow {self.flow} is gone; forget it: make reset JOB={self.flow}/{job}"
        return "`make resume` resumes it"


@contextmanager
def alive(flow_run_id: UUID | str, flow: str) -> Iterator[None]:
    """Mark a flow run as alive until the context ends; a killed or terminated process leaves the marker behind.

    Args:
        flow_run_id: the id of the run.
        flow: the name of its flow, the only one that can resume it.

    Raises:
        filelock.Timeout: another process works on that run.
    """
    from prefect.exceptions import TerminationSignal

    marker = _marker(flow_run_id)
    marker.parent.mkdir(parents=True, exist_ok=True)
    with _lock(marker):
        marker.write_text(flow, encoding="utf-8")
        try:
            yield
        except TerminationSignal:
            # Prefect raises this on SIGTERM, and then ends the process by that signal.
            print(f"{flow} was stopped by SIGTERM; `make resume` goes on where it stopped", file=sys.stderr)
            raise
        except BaseException:
            marker.unlink()
            raise
        marker.unlink()


def dead() -> list[DeadRun]:
    """Return the flow runs whose process was killed, oldest first."""
    return [DeadRun(UUID(marker.stem), marker.read_text(encoding="utf-8")) for marker in _markers(held=False)]


def at_work() -> list[UUID]:
    """Return the flow runs of this machine whose process is at work, oldest first."""
    return [UUID(marker.stem) for marker in _markers(held=True)]


def forget(flow_run_id: UUID) -> None:
    """Delete the marker of a killed run: it has been resumed, or must not be."""
    _marker(flow_run_id).unlink(missing_ok=True)


def _markers(held: bool) -> list[Path]:
    """Return the markers whose lock a process holds, or those that are left behind, oldest first."""
    markers = (settings.home / "runs").glob("*.run")
    return [marker for marker in sorted(markers, key=lambda path: path.stat().st_mtime) if _is_held(marker) == held]


def _is_held(marker: Path) -> bool:
    try:
        with _lock(marker):
            return False
    except Timeout:
        return True


def _marker(flow_run_id: UUID | str) -> Path:
    return settings.home / "runs" / f"{flow_run_id}.run"


def _lock(marker: Path) -> FileLock:
    return FileLock(marker.with_suffix(".lock"), timeout=0)
