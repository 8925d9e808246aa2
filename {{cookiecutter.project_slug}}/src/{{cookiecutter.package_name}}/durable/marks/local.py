"""Small objects in a folder beside the results: written whole or not at all, and on the disk when they are."""

import os
from pathlib import Path
from uuid import uuid4

from .parts import sync_folder
from .probe import StoreError
from .results import storage


def refresh() -> None:
    """Take the way to the store anew: for a folder, nothing."""


def write(name: str, content: bytes) -> None:
    """Put an object there, in place of one of that name.

    Args:
        name: as all names here, relative to the folder of all marks.
        content: of any length.

    Raises:
        StoreError: it cannot be kept.
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
        raise StoreError(f"a mark cannot be kept at {path}: {error.strerror}") from error


def read(name: str) -> bytes | None:
    """Return an object, or None where there is none.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        return (_folder() / name).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"a mark cannot be read at {_folder() / name}: {error.strerror}") from error


def names(prefix: str) -> list[str]:
    """Return the names of all objects that begin with a prefix: a job's folder and `/`, or nothing.

    Raises:
        StoreError: they cannot be listed.
    """
    start = _folder() / prefix
    try:
        files = [path for path in start.glob("*" if prefix else "*/*") if path.suffix != ".part"]
    except OSError as error:
        raise StoreError(f"marks cannot be listed in {start}: {error.strerror}") from error
    return [path.relative_to(_folder()).as_posix().removeprefix(prefix) for path in files]


def delete(name: str) -> None:
    """Remove an object, if it is there.

    Raises:
        StoreError: it cannot be removed.
    """
    path = _folder() / name
    try:
        path.unlink(missing_ok=True)
        sync_folder(path.parent)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StoreError(f"a mark cannot be removed at {path}: {error.strerror}") from error


def _folder() -> Path:
    return storage() / "checkpoints"


def _make(folder: Path) -> None:
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)
