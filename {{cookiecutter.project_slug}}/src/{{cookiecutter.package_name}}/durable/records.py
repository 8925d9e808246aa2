"""Strict parsing of CSV records.

An unexpected header is an error, which says what was found and what to do. A record that does not match the header is
rejected, without loss of other records. Columns may be quoted, in any order, and more than the expected ones.
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
"""The maximum number of lines in a record: a longer one has a quote that is not closed."""

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
    """The record's line in the file; in a chunk with a method `line`, its line in the chunk."""
    text: str
    columns: tuple[str, ...]
    """The column names of the header."""

    def values(self) -> dict[str, str]:
        """Return the fields by column name.

        Raises:
            ValueError: the record is not CSV, or has more or fewer fields than the header.
        """
        fields = _fields(self.text)
        if len(fields) != len(self.columns):
            raise ValueError(f"{len(fields)} fields, expected {len(self.columns)}")
        return dict(zip(self.columns, fields, strict=True))

    def reject(self, error: ValueError) -> Reject:
        """Return the record as a rejected record; the reason is an error of `values` or of pydantic."""
        return Reject.of(self.place, self.text, error)


def csv_header(path: Path, line: bytes, expected: Collection[str]) -> tuple[str, ...]:
    """Parse the header of a CSV file: return the column names in the order of the file.

    Args:
        path: the file, for errors.
        line: the first line of the file.
        expected: names of required columns; others are allowed.

    Raises:
        InputError: the line is not a header with these columns; the message says what was found and what to do.
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
        raise InputError(f"{path}:1: {reason}; it must name {','.join(expected)}")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{path}:1: has the column {twice[0]!r} twice; rename or remove one")
    return names


def _not_a_header(text: str) -> str | None:
    """Return why a line is not a CSV header, and what to do about it; None if nothing is known."""
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
        # The line may be a record: do not log its values.
        return "names none of the columns" if any(names) else "is blank"
    shown = ",".join(names)
    lacks = "column" if len(missing) == 1 else "columns"
    return f"lacks the {lacks} {','.join(missing)}; found {shown[:200]}{'…' if shown[200:] else ''}"


def csv_records(path: Path, content: bytes, expected: Collection[str]) -> Iterator[CsvRecord]:
    """Yield the records of a CSV file in UTF-8, in order, without blank lines.

    A quoted field may contain line breaks. If a quote is not closed, only its own line is rejected.

    Args:
        path: the file, for errors.
        content: the whole file.
        expected: names of required columns; others are allowed.

    Raises:
        InputError: the file is not UTF-8, or lacks a column; the message says what was found and what to do.
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
    """Decode a line of a file.

    Raises:
        InputError: the line is not UTF-8.
    """
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}:{number}: not UTF-8 (byte {line[error.start]:#04x} at column {error.start + 1});"
            " convert the file first, for instance with iconv"
        ) from None


def _count(lines: list[str], place: int, width: int) -> int:
    """Return the number of lines of the record that begins at `place`."""
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
        # The csv module would end the record at this CR.
        if not text.endswith("\r"):
            (fields,) = csv.reader(io.StringIO(text, newline="\n"), strict=True)
            return fields
    except csv.Error as error:
        if "\r" not in text:
            raise ValueError(str(error)) from None
    raise ValueError("a carriage return (CR) in the record")
