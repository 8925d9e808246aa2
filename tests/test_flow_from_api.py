"""Flows that `make flow FROM=api` writes: clean as they come, with each text that the skeletons have."""

import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from test_own_flow import Walk
from tree import PROJECT
from variants import ALL, TEMPLATE, Answers, each

LONGEST = "a-name-of-thirty-letters-in-al"
LINES = 60
"""Of a flow's module."""


def texts() -> list[Answers]:
    """Return variants whose answers choose the texts of the skeletons.

    Each answer beside the others' first ones; in `make test-all` all combinations.
    """
    answers = {
        "upsert": ["sqlite", "none"],
        "retry_policy": ["exponential", "none"],
        "cache_key": ["inputs", "none"],
        "checkpoint": ["file", "none"],
    }
    found = (dict(zip(answers, some, strict=True)) for some in itertools.product(*answers.values()))
    few = [variant for variant in found if ALL or sum(answer == "none" for answer in variant.values()) < 2]
    return [{"example": "none", **variant} for variant in few if TEMPLATE.valid(variant)]


@pytest.mark.rotating
@pytest.mark.parametrize("variant", each(texts()))
def test_flows_are_clean_as_they_come(
    baked: Callable[[Answers], Path], copy: Callable[[Path], Path], environment: dict[str, str], variant: Answers
) -> None:
    project = copy(baked(variant))
    walk = Walk(project, variant, environment)
    said = walk.make("flow", f"NAME={LONGEST}", "FROM=api")
    assert f"make run FLOW=load-{LONGEST}" in said
    assert f"_{LONGEST.upper().replace('-', '_')}_API_URL" in said, "how to set the address of one's own API"
    flow = project / "src" / walk.package / "flows" / LONGEST.replace("-", "_") / "flow.py"
    assert len(flow.read_text(encoding="utf-8").splitlines()) <= LINES
    # And one from files, whose lines hold the name more often.
    walk.make("flow", f"NAME={LONGEST[::-1]}")
    walk.run(sys.executable, "-m", "ruff", "check")
    walk.run(sys.executable, "-m", "ruff", "format", "--check")
    if variant == texts()[0]:
        assert "Choose from" in walk.make("flow", "NAME=more", "FROM=mail", code=2)
        walk.run(sys.executable, "-m", walk.package, "check-prefect-yaml")


def test_each_skeleton_is_of_a_kind_of_source() -> None:
    (folder,) = PROJECT.rglob("durable/skeletons")
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"api", "files"}
