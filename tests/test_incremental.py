"""The example of `docs/incremental.md` does what the page says."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from test_own_flow import Walk
from variants import ROOT, Answers

PAGE = (ROOT / "docs" / "incremental.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_example_of_a_cursor_and_a_backfill_runs_as_shown(
    baked: Callable[[Answers], Path], copy: Callable[[Path], Path], environment: dict[str, str]
) -> None:
    variant = {"example": "none"}
    project = copy(baked(variant))
    walk = Walk(project, variant, environment)
    ((code, session),) = re.findall(r"^```python\n(.*?)^```\n\n```console\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    (project / "src" / walk.package / "flows" / "tickets.py").write_text(code, encoding="utf-8")
    for command, shown in re.findall(r"^\$ make (.*)\n((?:[^$].*\n)*)", session, re.MULTILINE):
        assert walk.make(*command.split()) == shown
