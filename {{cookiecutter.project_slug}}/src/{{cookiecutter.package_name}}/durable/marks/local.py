"""Small files beside the results, for checkpoints and high-water marks: written atomically and flushed to disk."""

import os
from pathlib import Path
from uuid import uuid4

from .parts import sync_folder
from .probe import StoreError
from .results import storage


def refresh() -> None:
    """Do nothing: a folder needs no connection."""


def write(name: str, content: bytes) -> None:
    """Write a file, and replace one with the same name.

    Args:
        name: relative to the folder `checkpoints`, like all names in this module.
        content: bytes of any length.

    Raises:
        StoreError: the file cannot be written.
    """
    path = _folder() / name
    new = path.with_name(f"{path.name}.{uuid4().hex}.part")
    try:
        _make(path.parent)
        with new.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise StoreError(f"a checkpoint cannot be written to {path}: {error.strerror}") from error


def read(name: str) -> bytes | None:
    """Return the content of a file, or None if there is none.

    Raises:
        StoreError: the file cannot be read.
    """
    try:
        return (_folder() / name).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"a checkpoint cannot be read at {_folder() / name}: {error.strerror}") from error


def names(prefix: str) -> list[str]:
    """List the files with a prefix, without it: a job's folder and `/`, or an empty text for all.

    Raises:
        StoreError: the files cannot be listed.
    """
    start = _folder() / prefix
    try:
        files = [path for path in start.glob("*" if prefix else "*/*") if path.suffix != ".part"]
    except OSError as error:
        raise StoreError(f"marks cannot be listed in {start}: {error.strerror}") from error
    return [path.relative_to(_folder()).as_posix().removeprefix(prefix) for path in files]


def delete(name: str) -> None:
    """Delete a file, if it exists.

    Raises:
        StoreError: the file cannot be deleted.
    """
    path = _folder() / name
    try:
        path.unlink(missing_ok=True)
        sync_folder(path.parent)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StoreError(f"a checkpoint cannot be removed at {path}: {error.strerror}") from error


def _folder() -> Path:
    return storage() / "checkpoints"


def _make(folder: Path) -> None:
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)
