"""The examples of the project's `docs/sources.md` read other CSV and JSON lines, as the page says."""

import csv
import json
import re
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from projects import path_of, said_by
from variants import Answers, each

VARIANTS = [{}, {"upsert": "none", "checkpoint": "file"}]


@pytest.fixture(params=each(VARIANTS))
def variant(request: pytest.FixtureRequest) -> Answers:
    found: Answers = request.param
    return found


@pytest.fixture
def project(baked: Callable[[Answers], Path], copy: Callable[[Path], Path], variant: Answers) -> Path:
    return copy(baked({**variant, "example": "none"}))


@pytest.fixture
def do(project: Path, environment: dict[str, str], types_cache: Path) -> Callable[..., str]:
    """Run a module in the project, which has a new flow over orders."""
    names = {**environment, "PYTHONPATH": path_of(project), "MYPY_CACHE_DIR": str(types_cache)}

    def do(*arguments: str) -> str:
        return said_by(project, names, sys.executable, "-m", *arguments, code=0, timeout=120)

    do("durable_flights", "flow", "orders")
    return do


@pytest.mark.rotating
def test_other_csv_is_read_and_bad_records_are_set_aside(
    project: Path, do: Callable[..., str], variant: Answers
) -> None:
    page = (project / "docs" / "sources.md").read_text(encoding="utf-8")
    (cut,) = re.findall(r"^    return \[part .*$", page, re.MULTILINE)
    (record,) = re.findall(r"^```python\n(COMMA = .*?)^```$", page, re.DOTALL | re.MULTILINE)
    source = project / "src/durable_flights/flows/orders/source.py"
    text = source.read_text(encoding="utf-8")
    text = re.sub(r"^    return \[part .*$", lambda _: cut, text, flags=re.MULTILINE)
    text = re.sub(r"^class Record.*?\n\n\n", lambda _: f"{record}\n\n", text, flags=re.DOTALL | re.MULTILINE)
    text = text.replace("from pydantic import BaseModel,", "from pydantic import BaseModel, BeforeValidator,")
    source.write_text(text, encoding="utf-8")
    for file in (project / "data" / "orders").glob("*.csv"):
        file.unlink()
    lines = [
        "Nummer;Käufer;Betrag;Stand",
        "1;Müller;1.234,50;31.01.2026",
        "2;a;12;1.1.2026",
        "3;b;x;01.02.2026",
        "5;d;1;01.02.2026",
    ]
    (project / "data" / "orders" / "a.csv").write_text("\n".join(lines) + "\n", encoding="cp1252")
    assert "4 read, 2 rejected" in do("durable_flights", "run", "load-orders")
    (project / "data" / "orders" / "b.csv").write_text(f"{lines[0]}\n4;c;0,10;28.02.2026\n", encoding="cp1252")
    assert "1 read, 0 rejected" in do("durable_flights", "run", "load-orders")
    if "upsert" not in variant:
        found = sqlite3.connect(project / "var" / "database.db").execute(
            "SELECT id, name, amount, updated_at FROM orders"
        )
        assert [(*row[:3], row[3][:10]) for row in found] == [
            (1, "Müller", 123450, "2026-01-31"),
            (4, "c", 10, "2026-02-28"),
            (5, "d", 100, "2026-02-01"),
        ]
    do("ruff", "check", "--fix")
    do("mypy")


@pytest.mark.rotating
def test_json_lines_are_read_and_bad_ones_set_aside(project: Path, do: Callable[..., str]) -> None:
    page = (project / "docs" / "sources.md").read_text(encoding="utf-8")
    (read,) = re.findall(r"^```python\n(def read\(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    source, flow = (project / "src/durable_flights/flows/orders" / name for name in ("source.py", "flow.py"))
    text = source.read_text(encoding="utf-8")
    text = re.sub(r"^def read\(.*\Z", lambda _: read, text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r'^COLUMNS = .*?"""\n', "", text, flags=re.DOTALL | re.MULTILINE)
    text = text.replace('".csv"', '".jsonl"').replace("csv_parts", "line_parts")
    text = text.replace(
        "from pathlib import Path\n", "import json\nfrom decimal import Decimal\nfrom pathlib import Path\n"
    )
    for file, code in {source: text, flow: flow.read_text(encoding="utf-8")}.items():
        file.write_text(code.replace("CsvPart", "FilePart"), encoding="utf-8")
    good = 0
    for file in (project / "data" / "orders").glob("*.csv"):
        with file.open(encoding="utf-8", newline="") as lines:
            records = [{**row, "id": int(row["id"]), "amount": 0.07} for row in csv.DictReader(lines)]
        good += len(records)
        file.unlink()
        file.with_suffix(".jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    (project / "data" / "orders" / "late.jsonl").write_text('{"id": 1.5}\n{"id":\n')
    found = do("durable_flights", "run", "load-orders")
    assert f"{good + 2} read, 2 rejected" in found
    first, second = (project / "var/rejects/load-orders/orders.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert ",late.jsonl,1," in first
    assert "(found 1.5); name: Field required;" in first
    assert ",late.jsonl,2," in second
    assert "0 done" in do("durable_flights", "run", "load-orders")
    do("ruff", "check")
    do("mypy")
