"""Progress of a run: a bar in the terminal, and a progress artifact in Prefect's UI."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

INTERVAL = 2.0
"""Seconds between updates of the artifact: each is a request that the run waits for."""


class RateColumn(ProgressColumn):
    """The rate of finished parts per second, without those of earlier runs."""

    def render(self, task: Task) -> Text:
        """Return the rate, once it is known."""
        rate = task.finished_speed or task.speed
        return Text(f"{rate:.1f}/s" if rate else "-/s", style="progress.data.speed")


@contextmanager
def progress(key: str, title: str, total: int, done: int = 0) -> Iterator[Callable[[], bool]]:
    """Show the progress of a run; yields a function to call once for each finished part.

    The function returns whether it has updated the server, which it does only from time to time.

    Args:
        key: the artifact's key, of lower-case letters, digits and dashes.
        title: what is counted.
        total: the number of parts.
        done: the number of parts that an earlier run has done.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    begin = f"{title}: {done} of {total} were done before" if done else title
    artifact: Any = create_progress_artifact(_percent(done, total), key=key, description=begin)
    shown = time.monotonic()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=total, completed=done)

        def advance() -> bool:
            nonlocal done, shown
            done += 1
            bar.advance(task)
            if time.monotonic() - shown < INTERVAL:
                return False
            update_progress_artifact(artifact, _percent(done, total))
            shown = time.monotonic()
            return True

        yield advance
    update_progress_artifact(artifact, _percent(done, total))


def _percent(done: int, total: int) -> float:
    return 100.0 * done / total if total else 100.0
