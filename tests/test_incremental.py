"""The example of `docs/incremental.md` and `docs/backfill.md` does what the pages say."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from test_own_flow import Walk
from variants import ROOT, Answers

PAGES = "\n".join((ROOT / "docs" / page).read_text(encoding="utf-8") for page in ("incremental.md", "backfill.md"))


@pytest.mark.slow
def test_example_of_a_cursor_and_a_backfill_runs_as_shown(
    baked: Callable[[Answers], Path], copy: Callable[[Path], Path], environment: dict[str, str]
) -> None:
    variant = {"example": "none"}
    project = copy(baked(variant))
    walk = Walk(project, variant, environment)
    code, end = re.findall(r"^```python\n(.*?)^```", PAGES, re.DOTALL | re.MULTILINE)
    assert end.removesuffix("    ...\n") in code
    (project / "src" / walk.package / "flows" / "tickets.py").write_text(code, encoding="utf-8")
    sessions = re.findall(r"^```console\n(.*?)^```", PAGES, re.DOTALL | re.MULTILINE)
    commands = [found for session in sessions for found in re.findall(r"^\$ make (.*)\n((?:[^$].*\n)*)", session, re.M)]
    assert len(commands) == 6
    for command, shown in commands:
        assert walk.make(*command.split()) == shown
