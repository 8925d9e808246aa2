"""Files as chunks. A large file is cut into parts, so that a killed load goes on within it."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from .errors import InputError

PART = 8 << 20
"""The bytes of a part: a few seconds of work, and some hundred MiB as rows."""


@dataclass(frozen=True)
class FilePart:
    """A file, or a part of a large one, as a chunk.

    It is identified by its name, its number and its content: a corrected part is a new chunk. A file that grows at its
    end keeps its parts but the last.
    """

    label: str
    """The file's name; with a number, from the second part on."""
    digest: str
    """The SHA-256 of `content()`, in hex."""
    path: Path = field(compare=False)
    offset: int = field(compare=False)
    """Where it begins, in bytes."""
    size: int = field(compare=False)
    """Its bytes in the file."""
    header: bytes = field(compare=False)
    """What `content()` has before them: the first line of a CSV file, from the second part on."""
    above: int = field(compare=False)
    """The lines of the file that stand above it, without those of the header."""

    @property
    def key(self) -> str:
        """Its name and content."""
        return f"{self.label}@{self.digest[:16]}"

    def line(self, place: int) -> int:
        """Return the line of the file that is this line of `content()`; both count from 1."""
        return place + self.above

    def content(self) -> bytes:
        """Read it, with the header.

        Raises:
            InputError: it cannot be read, or has changed since it was cut.
        """
        with _opened(self.path) as file:
            file.seek(self.offset)
            content = self.header + file.read(self.size)
        if hashlib.sha256(content).hexdigest() != self.digest:
            raise InputError(f"{self.path}: was changed while it was being loaded; run again")
        return content


def line_parts(path: Path, *, size: int = PART) -> list[FilePart]:
    """Cut a file into parts of whole lines, for formats such as JSON lines. A small file is one part.

    Args:
        path: the file.
        size: about how many bytes a part has; another size makes other chunks. -1 leaves the file whole, for formats
            such as Parquet.

    Raises:
        InputError: it cannot be read, or is a pipe.
        ValueError: the size is 0.
    """
    return cut(path, size, whole_lines)


def first_line(path: Path) -> bytes:
    """Return the first line of a file, up to 64 KiB of it.

    Raises:
        InputError: it cannot be read, or is a pipe.
    """
    with _opened(path) as file:
        return file.readline(1 << 16)


def whole_lines(block: bytes) -> int:
    """Return the number of bytes up to the end of the last line."""
    return block.rfind(b"\n") + 1


def cut(path: Path, size: int, end: Callable[[bytes], int], header: bytes = b"") -> list[FilePart]:
    """Cut a file into parts. It is read once, a block at a time.

    Args:
        path: the file.
        size: the bytes of a block; -1: all.
        end: takes a block; returns where its last whole record ends, or 0 if it has none.
        header: the beginning of the file, which each part has.

    Raises:
        InputError: it cannot be read, or is a pipe.
        ValueError: the size is 0.
    """
    if not size:
        raise ValueError(f"{path}: parts of 0 bytes would never end")
    parts: list[FilePart] = []
    offset = lines = 0
    block = b""
    with _opened(path) as file:
        # An empty file is one part.
        while (more := file.read(size)) or block or not parts:
            block += more
            length = end(block) if len(more) == size else len(block)
            if more and not length:
                continue
            content, block = block[:length], block[length:]
            before = header if parts else b""
            label = f"{path.name}, part {len(parts) + 1}" if parts else path.name
            digest = hashlib.sha256(before + content).hexdigest()
            parts.append(FilePart(label, digest, path, offset, length, before, lines - before.count(b"\n")))
            offset += length
            lines += content.count(b"\n")
    return parts


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    if path.is_fifo():
        raise InputError(f"{path}: a pipe; write it to a file first, for a source is read more than once")
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
