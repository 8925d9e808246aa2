"""Small files of flights for the tests."""

import csv
import gzip
from pathlib import Path

from {{ cookiecutter.package_name }}.flights import COLUMNS

HEADER = ",".join(COLUMNS)


def record(day: int = 1, flight: int = 1, /, **values: object) -> str:
    """A good record of January 2013 or, past the 31st, of a later month of 28 days."""
    month, day = divmod(day - 32, 28) if day > 31 else (-1, day - 1)
    month, day = month + 2, day + 1
    fields: dict[str, object] = {
        "year": 2013,
        "month": month,
        "day": day,
        "dep_time": 517,
        "sched_dep_time": 515,
        "dep_delay": 2,
        "arr_time": 830,
        "sched_arr_time": 819,
        "arr_delay": 11,
        "carrier": "UA",
        "flight": flight,
        "tailnum": "N14228",
        "origin": "EWR",
        "dest": "IAH",
        "air_time": 227,
        "distance": 1400,
        "hour": 5,
        "minute": 15,
        "time_hour": f"2013-{month:02}-{day:02}T10:00:00Z",
    }
    return ",".join(str(value) for value in (fields | values).values())


def write(path: Path, *records: str) -> Path:
    """Write a source with these records."""
    path.write_text("\n".join([HEADER, *records]) + "\n", encoding="utf-8")
    return path


def days(path: Path, count: int, flights: int = 3) -> Path:
    """Write a source of so many days with so many flights each."""
    return write(path, *(record(day, flight) for day in range(1, count + 1) for flight in range(1, flights + 1)))


def keys(path: Path) -> set[tuple[str, int, str]]:
    """The natural keys of a source's records."""
    with path.open(newline="", encoding="utf-8") as file:
        return {(row["carrier"], int(row["flight"]), row["time_hour"]) for row in csv.DictReader(file)}


def broken(path: Path, kind: str) -> Path:
    """A source that cannot be used."""
    good = f"{HEADER}\n{record()}\n".encode()
    match kind:
        case "missing":
            pass
        case "a directory":
            path.mkdir()
        case "empty":
            path.touch()
        case "no header":
            path.write_text(record() + "\n")
        case "another header":
            path.write_text("a,b,c\n1,2,3\n")
        case "not UTF-8":
            path.write_bytes(good + b"2013,1,1,caf\xe9\n")
        case "binary":
            path.write_bytes(bytes(range(256)) * 99)
        case "gzip cut short":
            path.write_bytes(gzip.compress(good * 999)[:-20])
        case "gzip damaged":
            packed = bytearray(gzip.compress(good * 999))
            packed[len(packed) // 2] ^= 0xFF
            path.write_bytes(packed)
    return path


BROKEN = {
    "missing": "No such file",
    "a directory": "Is a directory",
    "empty": "the file is empty",
    "no header": ":1: not the header",
    "another header": ":1: not the header",
    "not UTF-8": ":3: not UTF-8 (byte 0xe9 at column 13)",
    "binary": ":1: not the header",
    "gzip cut short": "damaged or cut short",
    "gzip damaged": "damaged or cut short",
}
