"""Files in parts: together they are the file, and what has not changed stays the same chunk."""

import random
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.durable import (
    CsvPart,
    FilePart,
    InputError,
    csv_parts,
    csv_records,
    line_parts,
)

NAMES = ("id", "name")
HEADER = "id,name\n"
BODIES = [
    "1,a\n2,b\n3,c\n",
    '1,"a\nb"\n2,"c\n\n\nd"\n3,"e, ""f""\n"\n',
    '1,a\n2,"open\n3,c\n4,d\n5,"e"\n6,f',
    '1,5" pipe\n2,"a\nb"\n3,5"\n4,"c\nd",more\n5,"e\nf"\n',
    '\n1,a\r\n\r\n2,"b\r\nc"\r\n3,d\r\n\n',
    '1,"a\n2,b\n3,c"\n4,d\n',
    '1,"a"x\n2,"b\nc"\n',
    "",
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "some.csv"


def write(file: Path, text: str) -> Path:
    file.write_bytes(text.encode())
    return file


def whole(file: Path) -> list[tuple[int, str]]:
    """The lines and texts of the records, read at once."""
    return [(record.place, record.text) for record in csv_records(file, file.read_bytes(), NAMES)]


def in_parts(parts: Iterable[CsvPart]) -> list[tuple[int, str]]:
    """The same, part by part."""
    return [(part.line(record.place), record.text) for part in parts for record in part.records(NAMES)]


@pytest.mark.parametrize("body", BODIES)
def test_parts_hold_the_records_of_the_file(file: Path, body: str) -> None:
    write(file, HEADER + body)
    for size in range(1, len(HEADER + body) + 2):
        parts = csv_parts(file, size=size)
        assert in_parts(parts) == whole(file), f"parts of {size} bytes"
        assert sum(part.size for part in parts) == file.stat().st_size
        assert all(before.offset + before.size == part.offset for before, part in pairwise(parts))


def test_parts_of_awkward_files_hold_the_same_records(file: Path) -> None:
    for seed in range(300):
        dice = random.Random(seed)
        pieces = ["a", ",", '"', '""', "\n", "\r\n", "1,b\n", '2,"c\nd"\n', '"', "\N{FOX FACE}"]
        write(file, HEADER + "".join(dice.choices(pieces, k=60)))
        sizes = dice.sample(range(1, 150), 10)
        assert [in_parts(csv_parts(file, size=size)) for size in sizes] == [whole(file)] * 10, f"seed {seed}"


def test_record_of_many_lines_is_not_cut(file: Path) -> None:
    """A quote that is not closed within 1000 lines is no quote."""
    for lines in (998, 999, 1000, 1001):
        write(file, HEADER + '1,"a' + "\n" * lines + '"\n2,b\n3,"c"\n')
        assert in_parts(csv_parts(file, size=50)) == whole(file)
        assert len(csv_parts(file, size=50)) > 1


def test_small_file_is_one_part(file: Path) -> None:
    (part,) = csv_parts(write(file, f"{HEADER}1,a\n"))
    assert (part.label, part.size, part.line(2)) == ("some.csv", 12, 2)
    assert part.content() == file.read_bytes()


def test_part_is_known_by_its_content(file: Path) -> None:
    lines = [f"{number},name\n" for number in range(1000, 1100)]

    def keys(text: str, header: str = HEADER) -> list[str]:
        return [part.key for part in csv_parts(write(file, header + text), size=200)]

    before = keys("".join(lines))
    assert len({*before}) == len(before) > 4
    assert before[1].startswith("some.csv, part 2@")
    assert keys("".join([*lines, *lines]))[:4] == before[:4], "a file that grows"
    corrected = keys("".join([*lines[:50], "1050,NAME\n", *lines[51:]]))
    assert [old == new for old, new in zip(before, corrected, strict=True)].count(False) == 1
    assert not {*before} & {*keys("".join(lines), "name,id\n")}, "another header means something else"


def test_part_that_has_changed_is_not_read(file: Path) -> None:
    first, second, *_ = csv_parts(write(file, HEADER + "1,a\n2,b\n3,c\n"), size=12)
    write(file, HEADER + "1,a\n9,b\n3,c\n")
    assert [record.text for record in first.records(NAMES)] == ["1,a"]
    with pytest.raises(InputError, match="was changed while it was being loaded; run again"):
        second.records(NAMES)
    file.unlink()
    with pytest.raises(InputError, match="cannot be read: No such file"):
        first.content()


def test_error_in_a_later_part_names_the_line_of_the_file(file: Path) -> None:
    file.write_bytes(b"id,name\n1,a\n2,b\n3,caf\xe9\n4,d\n")
    parts = csv_parts(file, size=12)
    assert len(parts) > 2
    with pytest.raises(InputError, match=r"some.csv:4: not UTF-8"):
        in_parts(parts)
    read = [record.text for part in csv_parts(file, size=12, encoding="cp1252") for record in part.records(NAMES)]
    assert read == ["1,a", "2,b", "3,café", "4,d"]


def test_file_that_is_no_csv_is_one_part_whose_reading_says_so(file: Path) -> None:
    file.write_bytes(b"\x1f\x8b" + b"\n" * 100)
    (part,) = csv_parts(file, size=10)
    with pytest.raises(InputError, match="not CSV, but compressed with gzip"):
        list(part.records(NAMES))


def test_lines_are_cut_at_their_ends(file: Path) -> None:
    write(file, '{"a": 1}\n{"a": "long, long, long, long"}\n{"a": "as long as this"}')
    parts = line_parts(file, size=10)
    assert b"".join(part.content() for part in parts) == file.read_bytes()
    assert [part.line(1) for part in parts] == [1, 2, 3]
    (uncut,) = line_parts(file, size=-1)
    assert uncut.content() == file.read_bytes()


@pytest.mark.parametrize("cut", [csv_parts, line_parts])
def test_parts_of_no_bytes_are_refused(file: Path, cut: Callable[..., list[FilePart]]) -> None:
    with pytest.raises(ValueError, match="parts of 0 bytes would never end"):
        cut(write(file, HEADER), size=0)
