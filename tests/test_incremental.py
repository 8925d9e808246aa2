"""The example of `docs/incremental.md` and `docs/backfill.md` does what the pages say."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pages import blocks, commands, shows
from test_own_flow import Walk
from variants import ROOT, Answers

PAGES = "\n".join((ROOT / "docs" / page).read_text(encoding="utf-8") for page in ("incremental.md", "backfill.md"))


@pytest.mark.rotating
@pytest.mark.slow
def test_example_of_a_cursor_and_a_backfill_runs_as_shown(
    baked: Callable[[Answers], Path], copy: Callable[[Path], Path], environment: dict[str, str]
) -> None:
    variant = {"example": "none"}
    project = copy(baked(variant))
    walk = Walk(project, variant, environment)
    code, end = [block.text for block in blocks(PAGES) if block.language == "python"]
    assert end.removesuffix("    ...\n") in code
    (project / "src" / walk.package / "flows" / "tickets.py").write_text(code, encoding="utf-8")
    sessions = [block.text for block in blocks(PAGES) if block.language == "console"]
    done = [found for session in sessions for found in commands(session)]
    assert len(done) == 6
    for command, shown in done:
        program, *arguments = command.split()
        assert program == "make"
        said = walk.make(*arguments)
        assert shows(shown, said), said
