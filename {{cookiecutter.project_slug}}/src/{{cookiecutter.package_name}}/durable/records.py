"""Records of CSV files, read strictly, and by one parser, whoever asks.

A header that is not as expected is an error that says what was found and what to do. A record that is not as the header
says is a reject, and costs no other one. Names may be quoted, in any order, and beside others.
"""

import codecs
import csv
import io
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from .errors import InputError
from .rejects import Reject

LONGEST = 1000
"""Lines of a record: one that has more has a quote that is not closed."""

_FORMATS = {
    b"\xff\xfe": "UTF-16 or UTF-32; save it as UTF-8, or: iconv -f UTF-16 -t UTF-8",
    b"\xfe\xff": "UTF-16; save it as UTF-8, or: iconv -f UTF-16 -t UTF-8",
    b"PK\x03\x04": "a zip archive or an Excel workbook; unpack it, or save it as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel workbook; save it as CSV",
    b"\x1f\x8b": "compressed with gzip; unpack it",
    b"BZh": "compressed with bzip2; unpack it",
    b"\xfd7zXZ": "compressed with xz; unpack it",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it",
    b"PAR1": "Parquet; save it as CSV",
    b"version https://git-lfs": "a pointer of Git LFS; fetch the file with: git lfs pull",
    b"<": "HTML or XML; look at it, it may be an error page in place of the file",
    b"{": "JSON; save it as CSV",
    b"[": "JSON; save it as CSV",
}


class CsvRecord(NamedTuple):
    """A record of a CSV file, as text."""

    place: int
    """Where it is: its line in the file or, of a chunk that has a method `line`, in the chunk."""
    text: str
    columns: tuple[str, ...]
    """The names of its fields, as the header has them."""

    def values(self) -> dict[str, str]:
        """Return its fields by name.

        Raises:
            ValueError: it is not CSV, or has more or fewer fields than the header.
        """
        fields = _fields(self.text)
        if len(fields) != len(self.columns):
            raise ValueError(f"{len(fields)} fields, expected {len(self.columns)}")
        return dict(zip(self.columns, fields, strict=True))

    def reject(self, error: ValueError) -> Reject:
        """Return it as a rejected record, with what `values` or pydantic says against it as the reason."""
        return Reject.of(self.place, self.text, error)


def csv_header(path: Path, line: bytes, expected: Collection[str]) -> tuple[str, ...]:
    """Return the names of the columns, in the order of the file.

    Args:
        path: of the file, for errors.
        line: its first line.
        expected: names that must be there; others may be too.

    Raises:
        InputError: the line is not such a header; the message says what was found and what to do.
    """
    if not line:
        raise InputError(f"{path}: the file is empty; its first line must name the columns")
    if found := next((what for magic, what in _FORMATS.items() if line.startswith(magic)), None):
        raise InputError(f"{path}: not CSV, but {found}")
    if b"\0" in line:
        raise InputError(f"{path}:1: holds zero bytes; save the file as CSV in UTF-8")
    text = csv_text(path, 1, line.removeprefix(codecs.BOM_UTF8)).rstrip("\r\n")
    try:
        names = tuple(_fields(text))
    except ValueError as error:
        raise InputError(f"{path}:1: {_not_a_header(text) or error}") from None
    if missing := [name for name in expected if name not in names]:
        reason = _not_a_header(text) or _misnamed(names, missing, len(missing) == len(expected))
        raise InputError(f"{path}:1: {reason}; expected {','.join(expected)}")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{path}:1: has the column {twice[0]!r} twice; rename or remove one")
    return names


def _not_a_header(text: str) -> str | None:
    """What makes a line no header of CSV, and what to do about it."""
    if "\r" in text:
        return "lines end in CR alone; convert them with: tr '\\r' '\\n'"
    if text.lower().startswith("sep="):
        return f"the line {text!r} is for Excel alone; remove it"
    if "," not in text and (other := next((mark for mark in ";\t|" if mark in text), None)):
        return f"fields are separated by {other!r} and not by ','; save the file with commas"
    return None


def _misnamed(names: tuple[str, ...], missing: list[str], all_missing: bool) -> str:
    alike = {name.strip().casefold(): name for name in names}
    if found := next((name for name in missing if name.casefold() in alike), None):
        return f"has {alike[found.casefold()]!r} for {found!r}; rename the columns"
    if all_missing:
        # Perhaps a record: its values are not for logs.
        return "names none of the columns" if any(names) else "is blank"
    shown = ",".join(names)
    return f"lacks the columns {','.join(missing)}; found {shown[:200]}{'…' if shown[200:] else ''}"


def csv_records(path: Path, content: bytes, expected: Collection[str]) -> Iterator[CsvRecord]:
    """Yield the records of a CSV file in UTF-8, in their order and without blank lines.

    A quoted field may hold line ends. A quote that is not closed costs its line, not those after it.

    Args:
        path: of the file, for errors.
        content: all of it.
        expected: names of columns that must be there; others may be too.

    Raises:
        InputError: it is not UTF-8, or has another header.
    """
    first, end, _ = content.partition(b"\n")
    columns = csv_header(path, first + end, expected)
    lines = [csv_text(path, number, line) for number, line in enumerate(io.BytesIO(content), 1)]
    place = 1
    while place < len(lines):
        count = _count(lines, place, len(columns))
        text = "".join(lines[place : place + count]).removesuffix("\n").removesuffix("\r")
        if text:
            yield CsvRecord(place + 1, text, columns)
        place += count


def csv_text(path: Path, number: int, line: bytes) -> str:
    """Return a line of a file as text.

    Raises:
        InputError: it is not UTF-8.
    """
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}:{number}: not UTF-8 (byte {line[error.start]:#04x} at column {error.start + 1});"
            " convert the file first, for instance with iconv"
        ) from None


def _count(lines: list[str], place: int, width: int) -> int:
    """Return how many lines the record takes that begins in one of them."""
    if '"' not in lines[place]:
        return 1
    reader = csv.reader(map(lines.__getitem__, range(place, min(place + LONGEST, len(lines)))), strict=True)
    try:
        return reader.line_num if len(next(reader)) == width else 1
    except csv.Error:
        return 1


def _fields(text: str) -> list[str]:
    if '"' not in text and "\r" not in text:
        return text.split(",")
    try:
        # To csv, it would end the record.
        if not text.endswith("\r"):
            (fields,) = csv.reader(io.StringIO(text, newline="\n"), strict=True)
            return fields
    except csv.Error as error:
        if "\r" not in text:
            raise ValueError(str(error)) from None
    raise ValueError("a carriage return (CR) in the record")
