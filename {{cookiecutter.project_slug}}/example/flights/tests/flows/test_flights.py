"""The flow over flights: its source, chunk by chunk, what is said of files that cannot be used, and the whole load."""

import gzip
import os
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.durable import InputError, upserts
from {{ cookiecutter.package_name }}.flows.flights.flow import load_flights
from {{ cookiecutter.package_name }}.flows.flights.settings import settings
from {{ cookiecutter.package_name }}.flows.flights.source import COLUMNS, Chunk, check, opened

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
        case "a pipe":
            os.mkfifo(path)
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
    "a pipe": "a pipe, or no file; write it to a file first",
    "another header": ":1: names none of the columns; it must name year,month",
    "not UTF-8": ":3: not UTF-8 (byte 0xe9 at column 13)",
    "binary": ":1: holds zero bytes",
    "gzip cut short": "damaged or cut short",
    "gzip damaged": "damaged or cut short",
}


def chunks_of(path: Path, days_per_chunk: int = 1) -> list[Chunk]:
    with opened(path, days_per_chunk) as chunks:
        return chunks


def test_sample_has_only_good_records_in_a_chunk_a_day() -> None:
    with opened(settings.source) as chunks:
        checked = [check(chunk) for chunk in chunks]
    assert [chunk.label for chunk in chunks] == [f"2013-01-{day:02}" for day in range(1, 32)]
    assert sum(len(rows) for rows, _ in checked) == 2001
    assert not any(rejects for _, rejects in checked)


@pytest.mark.usefixtures("api")
def test_sample_is_loaded_whole() -> None:
    report = load_flights()
    assert (report["job"], report["chunks"], report["done"]) == ("load-flights/flights", 31, 31)
    assert (report["totals"]["read"], report["rejected"]) == (2001, 0)
    # Rows of the table, or flights that are counted.
    assert 2001 in (report["totals"].get("inserted"), report["totals"].get("flights"))


@pytest.mark.usefixtures("api")
def test_record_that_comes_twice_is_one_flight(tmp_path: Path) -> None:
    path = write(tmp_path / "f.csv", record(1, 1, dep_delay=1), record(1, 2), "nonsense", record(1, 1, dep_delay=5))
    report = load_flights(path)
    assert (report["totals"]["read"], report["totals"]["rejected"], report["chunks"]) == (4, 1, 2)
    assert report["totals"].get("duplicates", 1) == 1


@pytest.mark.usefixtures("api")
def test_record_that_the_table_refuses_costs_no_other(tmp_path: Path) -> None:
    path = write(tmp_path / "f.csv", record(1, 1), record(1, 2, arr_delay=3_000_000_000), record(1, 3))
    report = load_flights(path)
    assert (report["done"], report["rejected"]) == (1, 1 if upserts.WRITES else 0)
    if upserts.WRITES:
        rejects = Path(str(report["rejects_file"])).read_text(encoding="utf-8")
        assert f"{path},2013-01-01,3,arr_delay: 3000000000 does not fit" in rejects


def test_day_is_one_chunk_however_its_records_are_written(tmp_path: Path) -> None:
    quoted = ",".join(f'"{value}"' for value in record(1, 1, dep_delay=1).split(","))
    (chunk,) = chunks_of(write(tmp_path / "f.csv", quoted, record(1, 1, month="01", dep_delay=2)))
    assert [row["dep_delay"] for row in check(chunk)[0]] == [1, 2], "of two records of a flight the last one wins"


def test_columns_are_known_by_their_names(tmp_path: Path) -> None:
    names = ["", *reversed(COLUMNS)]
    fields = dict(zip(COLUMNS, record(1, 1, dep_time=1, arr_time=2).split(","), strict=True)) | {"": "1"}
    path = tmp_path / "f.csv"
    path.write_text(",".join(f'"{name}"' for name in names) + "\n" + ",".join(fields[name] for name in names) + "\n")
    (chunk,) = chunks_of(path)
    ((row,), _) = check(chunk)
    assert (row["dep_time"], row["arr_time"], "" in row) == (1, 2, False)
    path.write_text(path.read_text().replace('"time_hour","minute"', '"minute","time_hour"'))
    assert chunks_of(path)[0].key != chunk.key, "the same records under other names are others"


def test_rows_have_the_types_of_the_table(tmp_path: Path) -> None:
    (chunk,) = chunks_of(write(tmp_path / "f.csv", record(dep_time="NA")))
    ((row,), rejects) = check(chunk)
    assert not rejects
    assert (row["dep_time"], row["distance"], row["carrier"]) == (None, 1400, "UA")
    assert row["time_hour"].isoformat() == "2013-01-01T10:00:00+00:00"


def test_a_chunk_is_one_day_wherever_its_records_stand(tmp_path: Path) -> None:
    path = write(tmp_path / "f.csv", record(1, 1), record(2, 2), record(1, 3), record(2, 4))
    first, second = chunks_of(path)
    assert [row["flight"] for row in check(first)[0]] == [1, 3]
    assert [row["flight"] for row in check(second)[0]] == [2, 4]


@pytest.mark.parametrize(("size", "count"), [(1, 31), (7, 5), (31, 2), (366, 1)])
def test_chunk_size_is_in_days(size: int, count: int) -> None:
    chunks = chunks_of(settings.source, size)
    assert abs(len(chunks) - count) <= 1
    assert sum(len(check(chunk)[0]) for chunk in chunks) == 2001


def test_chunk_is_known_by_its_content(tmp_path: Path) -> None:
    one = chunks_of(days(tmp_path / "one.csv", 3))
    moved = chunks_of(write(tmp_path / "two.csv", *(record(d, f) for d in (3, 1, 2) for f in (1, 2, 3))))
    assert set(one) == set(moved)
    corrected = chunks_of(write(tmp_path / "three.csv", record(1, 1, dep_delay=9), record(2, 1)))
    assert not set(one) & set(corrected)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (record(1, 2, distance=0), "distance: Input should be greater than 0 (found '0')"),
        (record(1, 2, carrier="toolong"), "carrier: String should match pattern"),
        (record(1, 2, time_hour="2013-01-01T10:00:00"), "time_hour: Input should have timezone info"),
        (record(1, 2, time_hour="NA"), "time_hour: not a timestamp"),
        (record(1, 2, time_hour="41275.4583333"), "time_hour: not a timestamp"),
        (record(1, 2, flight="x"), "flight: not a whole number"),
        (record(1, 2, flight="1_707"), "flight: not a whole number"),
        (record(1, 2, dep_time=1299), "dep_time: not a time of day"),
        (record(1, 2, year="2013.0"), "year: not a whole number"),
        (record(1, 2, year="2013\u00a0"), "year: not a whole number"),
        (record(1, 2) + "\r\r", "a carriage return (CR)"),
        pytest.param("\0" * 300_000, "1 fields, expected 19", id="zeros"),
        (record(1, 2) + ",more", "20 fields, expected 19"),
        (record(1, 2)[:30], "10 fields, expected 19"),
        (record(1, 2, tailnum='"N14'), "unexpected end of data"),
        (record(1, 2, month=13), "month: Input should be less than or equal to 12"),
        # The rest of the reason is Python's, and differs between its versions.
        (record(1, 2, month=2, day=30), "day "),
        (record(1, 2, month="x"), "month: not a whole number"),
        ("nonsense", "1 fields, expected 19"),
    ],
)
def test_bad_record_is_set_aside_with_its_line_and_reason(tmp_path: Path, bad: str, reason: str) -> None:
    chunks = chunks_of(write(tmp_path / "f.csv", record(1, 1), bad, record(1, 3)))
    rejects = [(chunk.line(reject.place), reject) for chunk in chunks for reject in check(chunk)[1]]
    ((line, reject),) = rejects
    assert line == 3
    assert reason in reject.reason
    assert reject.record == bad.removesuffix("\r")
    assert sum(len(check(chunk)[0]) for chunk in chunks) == 2


def test_blank_lines_windows_line_ends_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes("\r\n".join(["\ufeff" + HEADER, record(1, 1), "", record(1, 2), "", ""]).encode())
    (chunk,) = chunks_of(path)
    rows, rejects = check(chunk)
    assert [row["flight"] for row in rows] == [1, 2]
    assert not rejects


def test_last_record_needs_no_line_end(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text(f"{HEADER}\n{record(1, 1)}\n{record(2, 2)}")
    assert [len(check(chunk)[0]) for chunk in chunks_of(path)] == [1, 1]


def test_compressed_source_has_the_same_chunks(tmp_path: Path) -> None:
    packed = tmp_path / "flights.csv.gz"
    packed.write_bytes(gzip.compress(settings.source.read_bytes()))
    with opened(packed) as chunks:
        assert chunks == chunks_of(settings.source)
        assert sum(len(check(chunk)[0]) for chunk in chunks) == 2001


def test_header_alone_is_a_source_without_records(tmp_path: Path) -> None:
    assert chunks_of(write(tmp_path / "f.csv")) == []


def test_source_that_changes_under_way_is_refused(tmp_path: Path) -> None:
    path = days(tmp_path / "f.csv", 2)
    chunks = chunks_of(path)
    path.write_text(path.read_text().replace("1400", "1401"))
    with pytest.raises(InputError, match="was changed while it was being loaded"):
        check(chunks[0])
    path.unlink()
    with pytest.raises(InputError, match="cannot be read: No such file"):
        check(chunks[0])


@pytest.mark.parametrize("kind", BROKEN)
def test_unusable_source_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    path = broken(tmp_path / "source", kind)
    with pytest.raises(InputError) as caught:
        chunks_of(path)
    assert str(caught.value).startswith(str(path))
    assert BROKEN[kind] in str(caught.value)
    assert "\n" not in str(caught.value)
