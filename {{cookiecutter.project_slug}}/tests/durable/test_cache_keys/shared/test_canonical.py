"""One text for one value: the same in every process, and another for every other value."""

import enum
import hashlib
import json
import subprocess
import sys
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from pydantic import BaseModel, PrivateAttr, RootModel

from {{ cookiecutter.package_name }}.durable.canonical import DEPTH, INT64, canonical


class Color(enum.Enum):
    RED = 1
    OTHER = object()


class Other(enum.Enum):
    RED = 1


class Number(enum.IntEnum):
    ONE = 1


class Letter(enum.StrEnum):
    ONE = "1"


class Bits(enum.Flag):
    ONE = 1
    TWO = 2


class Kept(enum.IntFlag):
    """Takes numbers that nobody has named."""

    ONE = 1


class Text(str):
    """Looks like another text."""

    def __str__(self) -> str:
        return "hidden"


class Count(int):
    """Nothing but its name tells it from an int."""


class Pair(NamedTuple):
    one: Any
    two: Any


@dataclass(frozen=True)
class Part:
    name: Any
    place: int = field(default=0, compare=False)


class Undecorated(Part):
    """May have attributes that the fields of Part do not tell of."""


class Model(BaseModel):
    n: Any


class SubModel(Model):
    """Has the same fields."""


class Private(BaseModel):
    """Is not equal to another one that holds something else."""

    _held: int = PrivateAttr(default=0)


class Iterates(RootModel[list[int]]):
    """Is iterated as what it holds is, as pydantic's manual has it."""

    def __iter__(self) -> Any:
        return iter(self.root)


def private(held: int) -> Private:
    model = Private()
    model._held = held
    return model


BERLIN = ZoneInfo("Europe/Berlin")
LOOK_ALIKE: list[Any] = [
    None, True, 1, 1.0, "1", Decimal(1), Decimal("1.0"), b"1", bytearray(b"1"), Number.ONE, Letter.ONE, Bits.ONE,
    Bits.ONE | Bits.TWO, Text("1"), Text("2"), Count(1), ["1"], {"1"}, {"a": "1"}, {1: "a"}, {True: "a"}, {"1": "a"},
    {b"1": "a"}, {Letter.ONE: "a"}, {"n": 1}, OrderedDict(n=1), Counter(n=1), Model(n=1), SubModel(n=1),
    Model(n=Model(n=1)), Model(n=SubModel(n=1)), Model(n={"n": 1}), Part("1"), Part(1), Part(Part(1)), Pair("1", 1),
    ["1", 1], [["1"], 1], [["1", 1]], ["1", [1]], ["1", {1}], [], {}, set(), [[]], [{}], [set()], "", b"", "null", "[]",
    Kept(8), Kept(16), private(1), private(2), Iterates([1]), Iterates([2, 3]),
    0, 0.0, -0.0, False, float("nan"), "nan", float("inf"), -float("inf"), 1e308, INT64, INT64 + 1, -INT64, -INT64 - 1,
    hex(INT64 + 1), 10**400, 10**400 + 1, 10**5000, 0.1 + 0.2, 0.3,
    # Dicts that look like what stands for something else.
    {"float": "nan"}, {"json": []}, {"json": {"json": []}}, {"set": ["1"]}, {"int": hex(INT64 + 1)}, {"path": "1"},
    {"dict": {"a": "1"}}, {"pairs": []}, {"decimal:Decimal": "1"}, {"float": float("nan")}, {"json": Decimal(1)},
    date(2013, 1, 1), datetime(2013, 1, 1), datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 1, 1, tzinfo=BERLIN),
    datetime(2013, 1, 1, tzinfo=timezone(timedelta(hours=1))), time(1), time(1, tzinfo=BERLIN), "2013-01-01",
    timedelta(1), timedelta(0, 1), UUID(int=1), str(UUID(int=1)), Path("1"), Path("2"), Color.RED, Color.OTHER,
    Other.RED, "RED",
    # One character, and the two halves that JSON may write it as.
    "\U0001f600", "\ud83d\ude00", "\ud83d",
]  # fmt: skip


def test_values_that_look_alike_stay_apart() -> None:
    found: dict[bytes, Any] = {}
    for value in LOOK_ALIKE:
        text = canonical(value)
        assert text not in found, f"{value!r:.80} and {found[text]!r:.80} have one text"
        found[text] = value


def test_values_stay_apart_wherever_they_stand() -> None:
    """What is plain JSON is written in another way where something beside it is not."""
    texts = {canonical(place) for value in LOOK_ALIKE for place in ([value], [value, {1}], {"a": value}, {1: value})}
    assert len(texts) == 4 * len(LOOK_ALIKE)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": {"x", "y"}}, {"b": {"y", "x"}, "a": 1}),
        ({1: "a", "1": {2}}, {"1": {2}, 1: "a"}),
        ([1, (2, [3])], (1, [2, (3,)])),
        ([b"", (1, [2])], (b"", [1, (2,)])),
        ({1, 2}, frozenset({1, 2})),
        (Part("a", 1), Part("a", 2)),
        (Path("a") / "b", PurePosixPath("a/b")),
    ],
)
def test_values_that_are_the_same_have_one_text(one: object, other: object) -> None:
    assert canonical(one) == canonical(other)
    assert canonical([one, b""]) == canonical([other, b""])


@dataclass
class Row:
    when: object


ITSELF: list[Any] = []
ITSELF.append({"a": [ITSELF, ITSELF]})
DEEP: list[Any] = []
for _ in range(5000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (object(), r"parameters: builtins:object has no stable form; pass plain data"),
        ({"rows": [1, 2, 3, Row(object())]}, r"parameters\['rows'\]\[3\]\.when: builtins:object has no"),
        ({"m": Model(n=[lambda: 1])}, r"parameters\['m'\]\.n\[0\]: builtins:function has no"),
        ({date(2013, 1, 1): iter([1])}, r"parameters\[datetime\.date\(2013, 1, 1\)\]: builtins:list_iterator has"),
        ({"type": int}, r"parameters\['type'\]: builtins:type has no"),
        ([Undecorated("a")], r"parameters\[0\]: .*:Undecorated has no"),
        ([SimpleNamespace(a=1)], r"parameters\[0\]: types:SimpleNamespace has no"),
        ({"a": ITSELF}, r"parameters\['a'\]\[0\]\['a'\].*: is circular, or nested more than 100 deep"),
        ({"a": [DEEP, DEEP]}, r"parameters\['a'\]\[0\]\[0\].*: is circular, or nested more"),
    ],
)
def test_value_without_a_stable_form_is_an_error_that_says_where(value: object, reason: str) -> None:
    with pytest.raises(TypeError, match=f"^{reason}") as raised:
        canonical(value, "parameters")
    assert len(str(raised.value)) < 200


def test_attributes_beside_the_text_of_a_text_are_not_lost() -> None:
    text = Text("1")
    text.more = 1  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="Text has no stable form"):
        canonical(text)


def test_deep_values_are_fine_within_the_limit() -> None:
    plain: Any = 1
    tagged: Any = b""
    for _ in range(DEPTH - 1):
        plain, tagged = [plain], {1: tagged}
    assert canonical(plain) != canonical(tagged)


GOLDEN = {
    "plain": ({"b": [1, 1.5, None, True, "ä"], "a": {}}, '{"json":{"a":{},"b":[1,1.5,null,true,"ä"]}}'),
    "set": ({"c", "a", "b"}, '{"set":["a","b","c"]}'),
    "keys": ({2: "b", 1: "a"}, '{"pairs":[[1,"a"],[2,"b"]]}'),
    "mixed": ({"a": [1], "b": Decimal("1.0")}, '{"dict":{"a":{"json":[1]},"b":{"decimal:Decimal":"1.0"}}}'),
    "float": ([float("nan"), -0.0, 1e22], '[{"float":"nan"},-0.0,1e+22]'),
    "int": (2**64, '{"int":"0x10000000000000000"}'),
    "date": (date(2013, 1, 1), '{"datetime:date":"2013-01-01"}'),
    "zone": (
        datetime(2013, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")),
        '{"datetime:datetime":"2013-01-01T00:00:00+01:00[Europe/Berlin]"}',
    ),
    "timedelta": (timedelta(1, 1, 1), '{"datetime:timedelta":"1 day, 0:00:01.000001"}'),
    "uuid": (UUID(int=1), '{"uuid:UUID":"00000000-0000-0000-0000-000000000001"}'),
    "path": (Path("a/b"), '{"path":"a/b"}'),
    "bytes": (b"", '{"bytes":"' + hashlib.sha256().hexdigest() + '"}'),
}
"""Another text here makes each project run all of its tasks again: raise the template's version, and say so."""


@pytest.mark.parametrize("name", GOLDEN)
def test_texts_stay_as_they_are(name: str) -> None:
    value, text = GOLDEN[name]
    assert canonical(value).decode() == text


def test_text_is_the_same_in_another_process() -> None:
    """Hashes of sets by Prefect 3.9 are not."""
    code = """
import sys
from {{ cookiecutter.package_name }}.durable.canonical import canonical
print(canonical({"a": {"x", "y", "z"}, "b": frozenset([("p", 1.5), None]), "c": {("q",): b"r"}}).decode())
assert not {"numpy", "pandas"} & set(sys.modules), "imported for nothing"
"""
    texts = {
        subprocess.check_output([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PYTHONPATH": path})
        for seed in ("1", "2", "3")
        for path in [":".join(sys.path)]
    }
    assert len(texts) == 1
    assert json.loads(texts.pop())["dict"]["a"] == {"set": ["x", "y", "z"]}


def test_tables_differ_by_values_names_index_and_types() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame
    tables = [
        frame({"a": [1, 2]}),
        frame({"a": [2, 1]}),
        frame({"b": [1, 2]}),
        frame({"a": [1, 2]}, index=[0, 1]),
        frame({"a": [1, 2]}, index=["0", "1"]),
        frame({"a": [1, 2]}, index=pandas.Index([0, 1], name="i")),
        frame({"a": [1, 2]}, dtype="int32"),
        frame({"a": [1.0, 2.0]}),
        frame({"a": ["1", "2"]}),
        frame({"a": ["1", None]}),
        frame({"a": ["1", "2"]}, dtype="object"),
        frame({"a": [1, "2"]}, dtype="object"),
        frame({"a": ["1", "2"]}, dtype="category"),
        frame({"a": pandas.Categorical(["1", "2"], ["1", "2", "3"])}),
        frame({"a": pandas.Categorical(["1", "2"], ["2", "1"])}),
        frame({"a": pandas.Categorical(["1", "2"], ordered=True)}),
        frame({"a": pandas.array([1, None], dtype="Int64")}),
        frame({"a": pandas.to_datetime(["2013-01-01", "2013-01-02"])}),
        frame({"a": pandas.to_datetime(["2013-01-01", "2013-01-02"], utc=True)}),
        frame({"a": pandas.to_datetime(["2013-01-01", None], utc=True)}),
        frame({"a": [1, 2], "b": [3, 4]}),
        frame({"b": [3, 4], "a": [1, 2]}),
        frame([[1, 3], [2, 4]], columns=["a", "a"]),
        frame({"a": []}),
        frame(),
        pandas.Series([1, 2], name="a"),
        pandas.Series([1, 2]),
        pandas.Index([1, 2]),
        pandas.MultiIndex.from_tuples([(1, 2)]),
        {"a": [1, 2]},
    ]
    assert len({canonical(table) for table in tables}) == len(tables)
    assert canonical(frame({"a": [1, 2], "c": [None, "x"]})) == canonical(frame({"a": [1, 2], "c": [None, "x"]}))
    with pytest.raises(TypeError, match=r"^parameters\['t'\].*builtins:object has no stable form"):
        canonical({"t": frame({"a": [object()]})}, "parameters")


def test_arrays_differ_by_values_shapes_and_types() -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    arrays = [
        1, 1.0, "1", numpy.int64(1), numpy.int32(1), numpy.float64(1), numpy.float32(1), numpy.str_("1"),
        numpy.bool_(True), numpy.datetime64("2013-01-01"), numpy.array(1), numpy.array([1]), numpy.array([1.0]),
        numpy.array([[1, 2]]), numpy.array([1, 2]), numpy.array(["1"]), numpy.array([1], dtype=object),
        numpy.array([], dtype=object), numpy.zeros((0, 2)), numpy.zeros((0, 3)),
    ]  # fmt: skip
    assert len({canonical(array) for array in arrays}) == len(arrays)
    square = numpy.arange(9).reshape(3, 3)
    assert canonical(square[:, 1]) == canonical(square[:, 1].copy()), "where it stands in memory does not matter"
    for array in (numpy.ma.array([1], mask=[True]), numpy.zeros(1, dtype="i4,i4")):
        with pytest.raises(TypeError, match="no stable form"):
            canonical(array)


def test_object_with_attributes_beside_its_value_is_an_error() -> None:
    class Delay(timedelta): ...

    delay, part = Delay(1), Part("1")
    delay.why = "another"  # type: ignore[attr-defined]
    object.__setattr__(part, "more", 1)
    for value in (delay, part):
        with pytest.raises(TypeError, match="no stable form"):
            canonical(value)
