"""Every snippet of `docs/from-the-snippet.md` does what the page says of it, and every line that it shows of a project
is there.
"""

import asyncio
import json
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from variants import ROOT, Answers

PAGE = (ROOT / "docs" / "from-the-snippet.md").read_text(encoding="utf-8")
SECTIONS = {
    heading: re.findall(r"^```(\w+)\n(.*?)^```$", body, re.DOTALL | re.MULTILINE)
    for heading, body in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
}
"""The blocks of each section, with their language: the snippet, maybe its error, and the project's line."""


def snippet(heading: str) -> str:
    return SECTIONS[heading][0][1]


def error_of(heading: str) -> str:
    (text,) = [text for language, text in SECTIONS[heading] if language == "text"]
    return text.rstrip("\n")


def raised(work: Callable[[], object]) -> str:
    """The error of `work` as Python prints it."""
    try:
        work()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    raise AssertionError("nothing was raised")


@pytest.fixture
def names(prefect_here: None) -> dict[str, Any]:
    """What a snippet finds, which also is where it leaves its functions."""
    from prefect import flow, task
    from prefect.filesystems import LocalFileSystem
    from prefect.results import ResultStore

    known = {"flow": flow, "task": task, "LocalFileSystem": LocalFileSystem, "ResultStore": ResultStore}
    return {**known, "calls": [], "json": json}


def run(names: dict[str, Any], work: Callable[[], object]) -> Any:
    """Do `work` in a flow run of its own."""
    return names["flow"](work)()


@pytest.mark.parametrize("heading", ["A `ResultStore` as storage", "A block that was not saved"])
def test_storage_that_is_no_saved_block_cannot_be_imported(heading: str, names: dict[str, Any]) -> None:
    assert raised(lambda: exec(snippet(heading), names)).startswith(error_of(heading))


def test_path_in_a_string_fails_when_it_is_run(names: dict[str, Any]) -> None:
    exec(snippet("A path in a string"), names)
    assert raised(lambda: run(names, lambda: names["load"]("2013-01-01"))) == error_of("A path in a string")


def test_text_of_a_dict_is_no_json(tmp_path: Path) -> None:
    heading = "`str()` taken for JSON"
    names: dict[str, Any] = {}
    exec(snippet(heading), names)
    path = tmp_path / "result.json"
    names["store"](path, {"carrier": "UA", "delay": None})
    assert raised(lambda: json.loads(path.read_text())) == error_of(heading)


def test_stored_result_is_not_looked_for_by_a_new_run(names: dict[str, Any]) -> None:
    exec(snippet("`persist_result=True`, taken for resume"), names)
    for _ in range(2):
        run(names, lambda: names["load"]("2013-01-01"))
    assert names["calls"] == ["2013-01-01"] * 2


def test_key_of_an_f_string_has_three_faults(names: dict[str, Any]) -> None:
    code = snippet("A key made of an f-string")
    exec(code, names)
    load, delay, key = names["load"], names["delay"], names["key"]
    assert run(names, lambda: (load("UA", "1"), delay("UA", "1")))[1] == "UA 1 is loaded"
    assert run(names, lambda: (load("UA-1", "2"), load("UA", "1-2")))[1] == "UA-1 2 is loaded"
    assert key(None, {"carrier": "UA-1", "flight": "2"}) == key(None, {"carrier": "UA", "flight": "1-2"})
    for value in ("{'UA', 'DL', 'AA', 'B6'}", "object()"):
        call = f"{code.split('@task')[0]}\nprint(key(None, {{'carrier': {value}, 'flight': 1}}))"
        texts = {
            subprocess.check_output(
                [sys.executable, "-c", f"pad = [object()] * {seed}00000\n{call}"], text=True, env=env
            )
            for seed in range(1, 9)
            if (env := {"PYTHONHASHSEED": str(seed)})
        }
        assert len(texts) > 1, value


def test_one_storage_key_is_one_result(names: dict[str, Any]) -> None:
    exec(snippet("One storage key for all"), names)
    results = run(names, lambda: [names["load"](day) for day in ("2013-01-01", "2013-01-02")])
    assert results == ["rows of 2013-01-01"] * 2


CUT = """
import json, resource
from pathlib import Path

exec({code!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (1004, 1004))
for day in range(365):
    mark(Path({path!r}), f"day {{day}}")
"""


def test_checkpoint_in_one_file_is_lost_with_a_write_that_is_cut(names: dict[str, Any], tmp_path: Path) -> None:
    heading = "A checkpoint in one JSON file"
    code = snippet(heading)
    path = tmp_path / "done.json"
    script = CUT.format(code=code, path=str(path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "File too large" in done.stderr, "the write was cut, as on a full disk"
    exec(code, names)
    assert raised(lambda: names["mark"](path, "day 365")).startswith(error_of(heading))


def test_checkpoint_in_one_file_loses_marks_and_mixes_jobs(names: dict[str, Any], tmp_path: Path) -> None:
    exec(snippet("A checkpoint in one JSON file"), names)
    mark, path = names["mark"], tmp_path / "done.json"

    class Late:
        """The path as another process has it, which writes after this one has read."""

        def exists(self) -> bool:
            return path.exists()

        def read_text(self) -> str:
            text = path.read_text()
            mark(path, "mine")
            return text

        def write_text(self, text: str) -> None:
            path.write_text(text)

    mark(path, "first")
    mark(Late(), "theirs")
    assert json.loads(path.read_text()) == ["first", "theirs"], "my mark is gone"


def test_checkpoint_in_one_file_writes_183_times_what_it_marks(names: dict[str, Any], tmp_path: Path) -> None:
    exec(snippet("A checkpoint in one JSON file"), names)
    path, written = tmp_path / "done.json", 0
    for day in range(365):
        names["mark"](path, f"{day:03}")
        written += path.stat().st_size
    assert written / path.stat().st_size == pytest.approx(183, abs=1)
    assert "183 times" in PAGE


def test_retries_on_every_error_come_at_once_and_for_bad_data(names: dict[str, Any], slept: list[float]) -> None:
    exec(snippet("Retries on every error, all at once"), names)
    load = names["load"]
    calls: Counter[str] = Counter()
    fail = load.fn

    def counted(day: str) -> None:
        calls[day] += 1
        fail(day)

    load.fn = counted
    run(names, lambda: [load(day, return_state=True) for day in ("one", "two")] and None)
    assert calls == {"one": 4, "two": 4}
    assert slept == [pytest.approx(10, abs=1)] * 6
    assert max(slept) <= 10, "no jitter"


def test_condition_that_asks_for_the_result_never_retries(names: dict[str, Any]) -> None:
    exec(snippet("A condition that asks for the result"), names)

    async def work() -> None:
        await names["load"]("2013-01-01", return_state=True)

    with pytest.warns(RuntimeWarning, match="never awaited"):
        asyncio.run(names["flow"](work)())
    assert names["calls"] == ["2013-01-01"]


@pytest.mark.parametrize("key", ["", " PRIMARY KEY"], ids=["no key", "key"])
def test_insert_comes_twice(key: str, names: dict[str, Any]) -> None:
    heading = "An insert that may come twice"
    lost = [TimeoutError()]

    def answer_is_lost() -> None:
        if lost:
            raise lost.pop()

    names["answer_is_lost"] = answer_is_lost
    exec(snippet(heading), names)
    database = sqlite3.connect(":memory:", check_same_thread=False)
    database.execute(f"CREATE TABLE flights (flight INTEGER{key}, delay INTEGER)")

    def work() -> None:
        names["load"](database, [(1, 0), (2, 5)])

    if key:
        assert raised(lambda: run(names, work)) == error_of(heading)
    else:
        run(names, work)
    assert database.execute("SELECT count(*) FROM flights").fetchone() == (2 if key else 4,)
    database.close()


@pytest.mark.parametrize("heading", SECTIONS)
def test_what_a_project_has_instead_is_in_its_file(heading: str, baked: Callable[[Answers], Path]) -> None:
    package = baked({}) / "src" / "durable_flights"
    body = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    last, lines = SECTIONS[heading][-1]
    assert last == "python"
    # The file that is named last before the line is the one that it is of.
    file = re.findall(r"`([\w/]+\.py)`", body.split(lines)[0])[-1]
    assert lines in (package / file).read_text(encoding="utf-8")


def test_every_snippet_is_proved() -> None:
    """By a test of this module that names it."""
    source = Path(__file__).read_text(encoding="utf-8")
    assert [heading for heading in SECTIONS if json.dumps(heading) not in source] == []
    assert len(SECTIONS) == PAGE.count("\n## ")


def test_snippets_are_short() -> None:
    for heading, blocks in SECTIONS.items():
        assert blocks[0][0] == "python"
        lines = [line for line in blocks[0][1].splitlines() if line]
        assert len(lines) <= 8, heading
