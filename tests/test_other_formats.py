"""The example of the project's `docs/sources.md` reads JSON lines as the page says."""

import csv
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from projects import path_of, said_by
from variants import Answers, each

VARIANTS = [{}, {"upsert": "none", "checkpoint": "file"}]


@pytest.mark.rotating
@pytest.mark.parametrize("variant", each(VARIANTS))
def test_json_lines_are_read_and_bad_ones_set_aside(
    baked: Callable[[Answers], Path],
    copy: Callable[[Path], Path],
    environment: dict[str, str],
    types_cache: Path,
    variant: Answers,
) -> None:
    project = copy(baked({**variant, "example": "none"}))
    names = {**environment, "PYTHONPATH": path_of(project), "MYPY_CACHE_DIR": str(types_cache)}

    def do(*arguments: str, code: int = 0) -> str:
        return said_by(project, names, sys.executable, "-m", *arguments, code=code, timeout=120)

    do("durable_flights", "flow", "orders")
    page = (project / "docs" / "sources.md").read_text(encoding="utf-8")
    (read,) = re.findall(r"^```python\n(def read\(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    source = project / "src/durable_flights/flows/orders/source.py"
    text = source.read_text(encoding="utf-8")
    text = re.sub(r"^def read\(.*?\n\n\n", lambda _: f"{read}\n\n", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r'^COLUMNS = .*?"""\n', "", text, flags=re.DOTALL | re.MULTILINE)
    text = text.replace('".csv"', '".jsonl"').replace(", csv_records", "")
    text = text.replace("import hashlib\n", "import hashlib\nimport json\n")
    text = text.replace("from pathlib import Path\n", "from decimal import Decimal\nfrom pathlib import Path\n")
    source.write_text(text, encoding="utf-8")
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
