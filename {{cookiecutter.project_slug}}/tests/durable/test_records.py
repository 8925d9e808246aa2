"""Records of CSV files: what is read, what is rejected alone, and what is said of files that are no such CSV."""

import gzip
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from {{ cookiecutter.package_name }}.durable import (
    BLANK,
    CsvRecord,
    InputError,
    PlainDate,
    PlainDecimal,
    PlainInt,
    Reject,
    Timestamp,
    csv_header,
    csv_records,
)

PATH = Path("some.csv")
NAMES = ("id", "name")


def read(content: str) -> list[tuple[int, object]]:
    """The line of each record, and its values or what is wrong with it."""
    found: list[tuple[int, object]] = []
    for record in csv_records(PATH, content.encode(), NAMES):
        try:
            found.append((record.place, tuple(record.values().values())))
        except ValueError as error:
            found.append((record.place, str(error)))
    return found


@pytest.mark.parametrize(
    ("line", "columns"),
    [
        (b'"id","name"\r\n', ("id", "name")),
        (b"\xef\xbb\xbfid,name\n", ("id", "name")),
        (b"name,id", ("name", "id")),
        (b",id,name,more\n", ("", "id", "name", "more")),
    ],
)
def test_header_may_be_quoted_in_another_order_and_longer(line: bytes, columns: tuple[str, ...]) -> None:
    assert csv_header(PATH, line, NAMES) == columns


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"", "some.csv: the file is empty; its first line must name the columns"),
        ("id,name\n".encode("utf-16"), "not CSV, but UTF-16 or UTF-32; save it as UTF-8, or: iconv -f UTF-16 -t UTF-8"),
        ("id,name\n".encode("utf-16-be"), ":1: holds zero bytes; save the file as CSV in UTF-8"),
        ("id,naïve\n".encode("latin-1"), ":1: not UTF-8 (byte 0xef at column 6)"),
        (gzip.compress(b"id,name\n", mtime=0), "compressed with gzip; unpack it"),
        (b"PK\x03\x04", "a zip archive or an Excel workbook; unpack it"),
        (b"<!DOCTYPE html>\n", "HTML or XML; look at it, it may be an error page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS; fetch the file with: git lfs pull"),
        (b"id;name\n", "by ';' and not by ','; save the file with ',', or pass delimiter=';' if all files have it"),
        (b"id|name\n", ":1: fields are separated by '|' and not by ','"),
        (b"id\tname\n", ":1: fields are separated by '\\t' and not by ','"),
        (b"sep=,\n", ":1: the line 'sep=,' is for Excel alone; remove it"),
        (b"id,name\r1,a\r", ":1: lines end in CR alone; convert them with: tr '\\r' '\\n'"),
        (b"ID,NAME\n", ":1: has 'ID' for 'id'; rename the columns; it must name id,name"),
        (b"id, name\n", ":1: has ' name' for 'name'; rename the columns"),
        (b"id,value\n", ":1: lacks the column name; found id,value; it must name id,name"),
        (b"1,first\n", ":1: names none of the columns; it must name id,name"),
        (b"\n", ":1: is blank; it must name id,name"),
        (b"id,name,id\n", ":1: has the column 'id' twice"),
        (b"id,name,,\n", ":1: has the column '' twice; rename or remove one"),
        (b'"id,name\n', ":1: unexpected end of data"),
    ],
)
def test_other_header_is_one_line_that_says_what_was_found(line: bytes, message: str) -> None:
    with pytest.raises(InputError) as caught:
        csv_header(PATH, line, NAMES)
    assert message in str(caught.value)
    assert str(caught.value).startswith("some.csv:")
    assert "\n" not in str(caught.value)


def test_quoted_field_may_hold_commas_quotes_and_line_ends() -> None:
    assert read('id,name\n1,"a, ""b""\nc"\n\n2,5" pipe\r\n3,last') == [
        (2, ("1", 'a, "b"\nc')),
        (5, ("2", '5" pipe')),
        (6, ("3", "last")),
    ]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ('2,"open', "unexpected end of data"),
        ('2,"open"x', "',' expected after '\"'"),
        ("2", "1 fields, expected 2"),
        ("2,b,", "3 fields, expected 2"),
        ("2,b\r\r", "a carriage return (CR) in the record"),
        ("2,b\rc", "a carriage return (CR) in the record"),
    ],
)
@pytest.mark.parametrize("after", ["3,c", '3,"c"', '3,c\n4,"d\ne"'])
def test_bad_record_costs_no_other(bad: str, reason: str, after: str) -> None:
    found = read(f"id,name\n1,a\n{bad}\n{after}\n")
    assert found[1] == (3, reason)
    assert [found[0], *found[2:]][:2] == [(2, ("1", "a")), (4, ("3", "c"))]


def test_reason_names_each_field_and_what_was_found_there() -> None:
    class Row(BaseModel):
        id: int
        name: str

    with pytest.raises(ValidationError) as caught:
        Row.model_validate({"id": "x", "nmae": "first"})
    number, name = Reject.of(7, "the record", caught.value).reason.split("; ")
    assert number.startswith("id: Input should be a valid integer")
    assert number.endswith(" (found 'x')")
    assert name == "name: Field required", "without the whole record"


@pytest.mark.parametrize("quote", ["", '"'])
def test_quoted_field_may_be_as_long_as_another(quote: str) -> None:
    long = "x" * 200_000
    assert read(f"id,name\n1,{quote}{long}{quote}\n") == [(2, ("1", long))]


def test_blank_first_line_is_not_an_empty_file() -> None:
    with pytest.raises(InputError, match=r"^some.csv:1: is blank; it must name id,name$"):
        read("\nid,name\n1,a\n")


def test_other_delimiter_and_encoding_are_read() -> None:
    content = 'id;name\n1;"a;b"\n2;café, 1,50\n3;"open\n4;x;y\n5;"two\nlines"\n'.encode("cp1252")
    found: list[object] = []
    for record in csv_records(PATH, content, NAMES, delimiter=";", encoding="cp1252"):
        try:
            found.append((record.place, record.values()["name"]))
        except ValueError:
            found.append(record.place)
    assert found == [(2, "a;b"), (3, "café, 1,50"), 4, 5, (6, "two\nlines")]
    with pytest.raises(InputError, match=r"not by ';'; save the file with ';'.*it must name id;name"):
        csv_header(PATH, b"id,name\n", NAMES, delimiter=";")
    with pytest.raises(InputError, match=r"^some.csv:2: not ascii"):
        list(csv_records(PATH, b"id,name\n1,\xff\n", NAMES, encoding="ascii"))


def test_line_that_is_not_utf8_is_named() -> None:
    with pytest.raises(InputError, match=r"^some.csv:3: not UTF-8 \(byte 0xe9 at column 6\); convert the file, as"):
        list(csv_records(PATH, b"id,name\n1,a\n2,caf\xe9\n", NAMES))


def test_reason_names_field_and_value() -> None:
    class Row(BaseModel):
        id: PlainInt

    with pytest.raises(ValidationError) as caught:
        Row.model_validate({"id": "1_707"})
    reject = CsvRecord(7, "1_707,a", NAMES).reject(caught.value)
    assert reject == (7, "id: not a whole number, of digits alone (found '1_707')", "1_707,a")


NANOSECOND = "2026-01-31T10:00:00.000000001Z"
TIME = datetime.fromisoformat("2026-01-31T10:00:00+00:00")
FIELDS: list[tuple[Any, Callable[[Any], Any], list[Any], list[Any]]] = [
    (PlainInt, int, ["1", "-20", "+3", "007", 5], ["1_707", "1.0", " 1", "\u0661", "", "1e3", 1.0, True]),
    (PlainDecimal, Decimal, ["12.50", "-1", Decimal("0.1"), 5], ["1_0.5", "1e3", "NaN", "1,5", " 1", True]),
    (
        PlainDate,
        lambda value: date.fromisoformat(str(value)),
        ["2026-01-31", date(2026, 1, 31)],
        ["20260131", "1769817600", 1769817600, "2026-02-30", "2026-01-31T10:00:00", TIME],
    ),
    (
        Timestamp,
        lambda _: TIME,
        ["2026-01-31T10:00:00Z", "2026-01-31 11:00:00+01:00", "2026-01-31T10:00:00.000000000Z", TIME],
        ["41275.4583", "20260131", 41275, 41275.4583, "2026-01-31", "2026-01-31T10:00:00", "yesterday", NANOSECOND],
    ),
]


@pytest.mark.parametrize(("kind", "convert", "good", "bad"), FIELDS, ids=["int", "decimal", "date", "timestamp"])
def test_fields_take_what_is_plainly_a_value(
    kind: Any, convert: Callable[[Any], Any], good: list[Any], bad: list[Any]
) -> None:
    field = TypeAdapter(kind)
    assert list(map(field.validate_python, good)) == list(map(convert, good))
    for value in bad:
        with pytest.raises(ValidationError):
            field.validate_python(value)


def test_blank_field_is_none_where_that_is_said() -> None:
    field: TypeAdapter[Decimal | None] = TypeAdapter(Annotated[PlainDecimal | None, BLANK])
    assert list(map(field.validate_python, ["", None, "12.50"])) == [None, None, Decimal("12.50")]
    with pytest.raises(ValidationError):
        field.validate_python(" ")
