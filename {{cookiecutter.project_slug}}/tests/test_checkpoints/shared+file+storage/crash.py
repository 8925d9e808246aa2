"""A process that does steps until it is killed, for the tests of checkpoints.

The effect of a step is a file with a value, which a repeat writes again as it is, and a count of how often it began: a
step that is lost, repeated or marked before its time shows.
"""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from {{ cookiecutter.package_name }}.checkpoints import Checkpoint
from {{ cookiecutter.package_name }}.settings import settings

POINTS = ("before the effect", "half of the effect", "effect before mark", "marked")
"""Where a process can be killed, in the order of a step."""

At = Callable[[str], None]


class MarkFirst(Checkpoint):
    """The mutant: the mark, then the effect."""

    @contextmanager
    def step(self, key: str) -> Iterator[bool]:
        with super().step(key) as todo:
            pass
        yield todo


def begun(key: str) -> int:
    """How often the effect of a step began."""
    count = _effects() / f"{key}.count"
    return len(count.read_bytes()) if count.exists() else 0


def happened(key: str) -> bool:
    """Whether the whole effect of a step is there."""
    return (_effects() / f"{key}.value").exists()


def _effects() -> Path:
    return settings.home / "effects"


def killer(point: str | None, hit: int) -> At:
    """What a process calls at each point; it dies the so many-th time that it comes to the given one."""
    hits = 0

    def at(here: str) -> None:
        nonlocal hits
        hits += here == point
        if here == point and hits == hit:
            os.kill(os.getpid(), signal.SIGKILL)

    return at


def work(
    checkpoint: Checkpoint,
    keys: list[str],
    point: str | None = None,
    hit: int = 1,
    pause: float = 0,
    prepare: Callable[[At], None] | None = None,
) -> None:
    """Do all steps that are not done, in an order of this process's own, and die at the given point."""
    _effects().mkdir(parents=True, exist_ok=True)
    remaining = checkpoint.remaining(keys)
    at = killer(point, hit)
    if prepare:
        prepare(at)
    for key in random.Random(os.getpid()).sample(remaining, len(remaining)):
        time.sleep(pause)
        with checkpoint.step(key) as todo:
            if not todo:
                continue
            at("before the effect")
            with (_effects() / f"{key}.count").open("ab") as file:
                file.write(b"1")
            at("half of the effect")
            (_effects() / f"{key}.value").write_text(key)
            at("effect before mark")
        at("marked")
