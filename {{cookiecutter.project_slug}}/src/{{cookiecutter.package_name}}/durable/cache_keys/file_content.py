"""Cache keys of task calls from the task's name, its version and its inputs, with files by content.

A `Path` among the inputs stands for the bytes of the file: a touched, moved or copied file is the same, a file with a
changed byte is another. A folder stands for its files, by name and content. Links to files and folders are followed,
except a link to a folder that contains it. Strings are not paths: pass a string for a file that the task writes, or
only passes on.

Each key reads the whole file, in pieces. It misses the name of a file, and a file that changes while the task runs. It
also misses a change in the code: raise the task's `version` when the same inputs must give another result.

To run a task although its result is stored: `task.with_options(refresh_cache=True)`, or for all tasks of a run
`PREFECT_TASKS_REFRESH_CACHE=true`. The setting `cache_expiration` says how long a result is valid.
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
    """Compute the cache key of a task call: 64 hex digits.

    Raises:
        TypeError: an input has no stable form; the message names it. Prefect logs the error and runs the task uncached,
            so test the key of each new kind of input (`tests/durable/test_caching.py`).
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
    """Yield the files in a folder. `rglob` does not follow links to folders."""
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
    """Attach to a task what its key needs to know of its definition, for workers too.

    Raises:
        TypeError: the task cannot be identified; the message names the task and says what to do.
    """
    carry_origin(task, cache_key)


CACHING: dict[str, Any] = {
    "cache_policy": CacheKeyFnPolicy(cache_key_fn=cache_key),
    "cache_expiration": cache_settings.cache_expiration,
}
"""The cache policy of all tasks, as keyword arguments."""
ACROSS_RUNS = True
"""Whether a new run uses the results of earlier runs."""
