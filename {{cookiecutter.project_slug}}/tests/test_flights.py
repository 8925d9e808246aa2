"""The source: chunking, checking, and what is said of files that cannot be used."""

import gzip
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.flights import Chunk, SourceError, check, opened
from {{ cookiecutter.package_name }}.settings import settings

from source import BROKEN, HEADER, broken, days, record, write


def chunks_of(path: Path, days_per_chunk: int = 1) -> list[Chunk]:
    with opened(path, days_per_chunk) as chunks:
        return chunks


def test_sample_has_only_good_records_in_a_chunk_a_day() -> None:
    with opened(settings.source) as chunks:
        checked = [check(chunk) for chunk in chunks]
    assert [chunk.label for chunk in chunks] == [f"2013-01-{day:02}" for day in range(1, 32)]
    assert sum(len(rows) for rows, _ in checked) == 2001
    assert not any(rejects for _, rejects in checked)


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
        (record(1, 2, time_hour="NA"), "time_hour: Input should be a valid datetime"),
        (record(1, 2, flight="x"), "flight: Input should be a valid integer"),
        (record(1, 2) + ",more", "20 fields, expected 19"),
        (record(1, 2)[:30], "10 fields, expected 19"),
        (record(1, 2, tailnum='"N14'), "unexpected end of data"),
        (record(1, 2, month=13), "month: Input should be less than or equal to 12"),
        (record(1, 2, month=2, day=30), "day is out of range for month"),
        (record(1, 2, month="x"), "month: Input should be a valid integer"),
        ("nonsense", "1 fields, expected 19"),
    ],
)
def test_bad_record_is_set_aside_with_its_line_and_reason(tmp_path: Path, bad: str, reason: str) -> None:
    chunks = chunks_of(write(tmp_path / "f.csv", record(1, 1), bad, record(1, 3)))
    rejects = [(chunk.line(reject.place), reject) for chunk in chunks for reject in check(chunk)[1]]
    ((line, reject),) = rejects
    assert line == 3
    assert reason in reject.reason
    assert reject.record == bad
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
    with pytest.raises(SourceError, match="was changed while it was being loaded"):
        check(chunks[0])
    path.unlink()
    with pytest.raises(SourceError, match="cannot be read: No such file"):
        check(chunks[0])


@pytest.mark.parametrize("kind", BROKEN)
def test_unusable_source_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    path = broken(tmp_path / "source", kind)
    with pytest.raises(SourceError) as caught:
        chunks_of(path)
    assert str(caught.value).startswith(str(path))
    assert BROKEN[kind] in str(caught.value)
    assert "\n" not in str(caught.value)
