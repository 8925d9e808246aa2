"""How far a run is: a bar in a terminal, and a progress artifact in Prefect's UI."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

INTERVAL = 2.0
"""Seconds between two updates of the artifact: each one is a request that the run waits for."""


@contextmanager
def progress(title: str, total: int, done: int = 0) -> Iterator[Callable[[], None]]:
    """Show how far a run is; call what is yielded once for each part that was done.

    Args:
        title: what is counted.
        total: the number of parts.
        done: how many of them an earlier run has done.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    artifact: Any = create_progress_artifact(_percent(done, total), key="progress", description=title)
    shown = time.monotonic()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=total, completed=done)

        def advance() -> None:
            nonlocal done, shown
            done += 1
            bar.advance(task)
            if time.monotonic() - shown >= INTERVAL:
                update_progress_artifact(artifact, _percent(done, total))
                shown = time.monotonic()

        yield advance
    update_progress_artifact(artifact, _percent(done, total))


def _percent(done: int, total: int) -> float:
    return 100.0 * done / total if total else 100.0
