"""Strict parsing of CSV records.

An unexpected header is an error, which says what was found and what to do. A record that does not match the header is
rejected, without loss of other records. Columns may be quoted, in any order, and more than the expected ones.
"""

import codecs
import csv
import io
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from .errors import InputError
from .files import PART, FilePart, cut, first_line, whole_lines
from .rejects import Reject

UTF_8 = "UTF-8"
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
    """The record's line in the content; the chunk's method `line`, if it has one, tells its line in the file."""
    text: str
    columns: tuple[str, ...]
    """The column names of the header."""
    delimiter: str = ","

    def values(self) -> dict[str, str]:
        """Return the fields by column name.

        Raises:
            ValueError: the record is not CSV, or has more or fewer fields than the header.
        """
        fields = _fields(self.text, self.delimiter)
        if len(fields) != len(self.columns):
            raise ValueError(f"{len(fields)} fields, expected {len(self.columns)}")
        return dict(zip(self.columns, fields, strict=True))

    def reject(self, error: ValueError) -> Reject:
        """Return the record as a rejected record; the reason is an error of `values` or of pydantic."""
        return Reject.of(self.place, self.text, error)


def csv_header(
    path: Path, line: bytes, expected: Collection[str], *, delimiter: str = ",", encoding: str = UTF_8
) -> tuple[str, ...]:
    """Parse the header of a CSV file: return the column names in the order of the file.

    Args:
        path: the file, for errors.
        line: the first line of the file.
        expected: names of required columns; others are allowed.
        delimiter: the character between fields.
        encoding: one in which ASCII is as it is, such as `cp1252`.

    Raises:
        InputError: the line is not a header with these columns; the message says what was found and what to do.
    """
    if not line:
        raise InputError(f"{path}: the file is empty; its first line must name the columns")
    if found := next((what for magic, what in _FORMATS.items() if line.startswith(magic)), None):
        raise InputError(f"{path}: not CSV, but {found}")
    if b"\0" in line:
        raise InputError(f"{path}:1: holds zero bytes; save the file as CSV in UTF-8")
    text = csv_text(path, 1, line.removeprefix(codecs.BOM_UTF8), encoding).rstrip("\r\n")
    try:
        names = tuple(_fields(text, delimiter))
    except ValueError as error:
        raise InputError(f"{path}:1: {_not_a_header(text, delimiter) or error}") from None
    if missing := [name for name in expected if name not in names]:
        reason = _not_a_header(text, delimiter) or _misnamed(names, missing, len(missing) == len(expected))
        raise InputError(f"{path}:1: {reason}; it must name {delimiter.join(expected)}")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{path}:1: has the column {twice[0]!r} twice; rename or remove one")
    return names


def _not_a_header(text: str, delimiter: str) -> str | None:
    """Return why a line is not a CSV header, and what to do about it; None if nothing is known."""
    if "\r" in text:
        return "lines end in CR alone; convert them with: tr '\\r' '\\n'"
    if text.lower().startswith("sep="):
        return f"the line {text!r} is for Excel alone; remove it"
    if delimiter not in text and (other := next((mark for mark in ",;\t|" if mark in text), None)):
        wanted = f"fields are separated by {other!r} and not by {delimiter!r}"
        return f"{wanted}; save the file with {delimiter!r}, or pass delimiter={other!r} if all files have it"
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


@dataclass(frozen=True)
class CsvPart(FilePart):
    """A CSV file, or a part of a large one, as a chunk: whole records, and the header."""

    delimiter: str = field(compare=False)
    encoding: str = field(compare=False)

    def records(self, expected: Collection[str]) -> Iterator[CsvRecord]:
        """Yield its records; see `csv_records`.

        Args:
            expected: names of required columns; others are allowed.

        Raises:
            InputError: the file has changed since it was cut, cannot be read, or is not CSV with these columns.
        """
        content = self.content()
        return csv_records(
            self.path, content, expected, delimiter=self.delimiter, encoding=self.encoding, line=self.line
        )


def csv_parts(path: Path, *, delimiter: str = ",", encoding: str = UTF_8, size: int = PART) -> list[CsvPart]:
    """Cut a CSV file into parts of whole records, each with the header. A small file is one part.

    Args:
        path: the file.
        delimiter: the character between fields.
        encoding: one in which ASCII is as it is, such as `cp1252`.
        size: about how many bytes a part has; another size makes other chunks. -1 leaves the file whole.

    Raises:
        InputError: it cannot be read, or is a pipe.
        ValueError: the size is 0.
    """
    header = first_line(path)
    try:
        width = len(csv_header(path, header, (), delimiter=delimiter, encoding=encoding))
    except InputError:
        # The task that reads the first part says why.
        parts = cut(path, size, whole_lines)[:1]
    else:
        parts = cut(path, size, partial(_whole_records, width, delimiter, encoding), header)
    return [CsvPart(**vars(part), delimiter=delimiter, encoding=encoding) for part in parts]


def _whole_records(width: int, delimiter: str, encoding: str, block: bytes) -> int:
    """Return the number of bytes up to the end of the last record: records are told as `csv_records` tells them."""
    length = whole_lines(block)
    if b'"' not in block:
        return length
    lines = list(io.BytesIO(block[:length]))
    texts = [line.decode(encoding, "replace") for line in lines]
    place = 0
    with suppress(csv.Error):
        # At once, for that is faster than record by record, as below.
        for fields in (reader := csv.reader(texts, delimiter=delimiter, strict=True)):
            if reader.line_num > place + 1 and (len(fields) != width or reader.line_num > place + LONGEST):
                break
            place = reader.line_num
    while place < len(lines) and (count := _count(texts, place, width, delimiter, cut=True)):
        place += count
    return sum(map(len, lines[:place]))


def csv_records(
    path: Path,
    content: bytes,
    expected: Collection[str],
    *,
    delimiter: str = ",",
    encoding: str = UTF_8,
    line: Callable[[int], int] = int,
) -> Iterator[CsvRecord]:
    """Yield the records of a CSV file, in order, without blank lines.

    A quoted field may contain line breaks. If a quote is not closed, only its own line is rejected.

    Args:
        path: the file, for errors.
        content: the whole file, or a part of it with the header.
        expected: names of required columns; others are allowed.
        delimiter: the character between fields.
        encoding: one in which ASCII is as it is, such as `cp1252`.
        line: `line` of the part, for errors.

    Raises:
        InputError: the file is not in this encoding, or lacks a column; the message says what was found and what to do.
    """
    first, end, _ = content.partition(b"\n")
    columns = csv_header(path, first + end, expected, delimiter=delimiter, encoding=encoding)
    lines = [csv_text(path, line(number), text, encoding) for number, text in enumerate(io.BytesIO(content), 1)]
    place = 1
    while place < len(lines):
        count = _count(lines, place, len(columns), delimiter)
        text = "".join(lines[place : place + count]).removesuffix("\n").removesuffix("\r")
        if text:
            yield CsvRecord(place + 1, text, columns, delimiter)
        place += count


def csv_text(path: Path, number: int, line: bytes, encoding: str = UTF_8) -> str:
    """Decode a line of a file.

    Raises:
        InputError: the line is not in this encoding.
    """
    try:
        return line.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}:{number}: not {encoding} (byte {line[error.start]:#04x} at column {error.start + 1});"
            " convert the file, as with iconv, or pass encoding='cp1252' or another one if all files have it"
        ) from None


def _count(lines: list[str], place: int, width: int, delimiter: str, cut: bool = False) -> int:
    """Return the number of lines of the record that begins at `place`; 0 if the lines are cut before its end."""
    if '"' not in lines[place]:
        return 1
    parts = map(lines.__getitem__, range(place, min(place + LONGEST, len(lines))))
    reader = csv.reader(parts, delimiter=delimiter, strict=True)
    try:
        return reader.line_num if len(next(reader)) == width else 1
    except csv.Error:
        return 0 if cut and reader.line_num == len(lines) - place < LONGEST else 1


def _fields(text: str, delimiter: str) -> list[str]:
    if '"' not in text and "\r" not in text:
        return text.split(delimiter)
    try:
        # The csv module would end the record at this CR.
        if not text.endswith("\r"):
            (fields,) = csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter, strict=True)
            return fields
    except csv.Error as error:
        if "\r" not in text:
            raise ValueError(str(error)) from None
    raise ValueError("a carriage return (CR) in the record")
