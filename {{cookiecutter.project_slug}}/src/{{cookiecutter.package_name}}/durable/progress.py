"""Progress of a run: a bar in the terminal, and a progress artifact in Prefect's UI."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from functools import partial
from threading import Timer
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
def progress(
    key: str, title: str, total: int, done: int = 0, tell: Callable[[], None] = lambda: None
) -> Iterator[Callable[[], None]]:
    """Show the progress of a run; yields a function to call once for each finished part.

    The server knows of a part `INTERVAL` seconds after its end at the latest, also while others take long.

    Args:
        key: the artifact's key, of lower-case letters, digits and dashes.
        title: what is counted.
        total: the number of parts.
        done: the number of parts that an earlier run has done.
        tell: called whenever the server is updated, by a thread of its own too.
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
    later: Timer | None = None

    def update() -> None:
        nonlocal shown
        shown = time.monotonic()
        update_progress_artifact(artifact, _percent(done, total))
        tell()

    def update_later() -> None:
        # A server that does not answer then is asked again at the next part.
        with suppress(Exception):
            update()

    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=total, completed=done)

        def advance() -> None:
            nonlocal done, later
            done += 1
            bar.advance(task)
            if time.monotonic() - shown >= INTERVAL:
                update()
            elif later is None or not later.is_alive():
                later = Timer(INTERVAL, partial(copy_context().run, update_later))
                later.daemon = True
                later.start()

        try:
            yield advance
        finally:
            if later:
                later.cancel()
                later.join()
    update_progress_artifact(artifact, _percent(done, total))


def _percent(done: int, total: int) -> float:
    return 100.0 * done / total if total else 100.0
