"""When a finished task is not run again: its name, version and inputs are as before, with files by what is in them.

A `Path` among the inputs stands for the bytes of the file: a file that was touched, moved or copied is the same, one
with a changed byte is another. A folder stands for the files in it, by their names and content; links to files and
folders are followed, but for one to a folder that it is in. Strings are not taken
for paths: give a task as a string what it writes to, or only passes on.

Each key reads the whole file, piece by piece. What it does not see: the name of a file, a change in the code (give the
task another `version` when the same inputs must give another result), and a file that changes while the task runs.

To run a task although its result is stored: `task.with_options(refresh_cache=True)`, or for all tasks of a run
`PREFECT_TASKS_REFRESH_CACHE=true`. A result is good for as long as the setting `cache_expiration` says.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prefect import Task
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.context import TaskRunContext

from .identity import cache_settings, carry_origin, digest


def cache_key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """Return a key of 64 hex digits for this call of this task.

    Raises:
        TypeError: an input has no stable form; the message names it. Prefect logs that and runs the task uncached, so
            test the key of each new kind of input (`tests/durable/test_caching.py`).
        OSError: a path among the inputs cannot be read; the message names the input. Logged in the same way.
    """
    return digest(context.task, parameters, read=_content)


def _content(path: Path, name: str) -> str | dict[str, str]:
    try:
        if path.is_dir():
            return {file.relative_to(path).as_posix(): _sha256(file) for file in _files(path)}
        if path.exists() and not path.is_file():
            raise OSError("neither a file nor a folder")
        return _sha256(path)
    except OSError as error:
        raise type(error)(f"{name}: the content of {path} cannot be read: {error.strerror or error}") from None


def _files(folder: Path, around: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield the files in a folder. Not `rglob`, which does not follow links to folders."""
    around = (*around, folder.resolve())
    for path in folder.iterdir():
        if path.is_file():
            yield path
        elif path.is_dir() and path.resolve() not in around:
            yield from _files(path, around)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def identify(task: Task[Any, Any]) -> None:
    """Have a task carry what its key needs to know of its definition, to workers too.

    Raises:
        TypeError: the task cannot be identified; the message names the task and says what to do.
    """
    carry_origin(task, cache_key)


CACHING: dict[str, Any] = {
    "cache_policy": CacheKeyFnPolicy(cache_key_fn=cache_key),
    "cache_expiration": cache_settings.cache_expiration,
}
"""The policy of all tasks, as keyword arguments."""
ACROSS_RUNS = True
"""Whether a new run finds what an earlier one has finished."""
