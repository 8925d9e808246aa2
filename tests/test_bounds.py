"""What projects ask for is what the tests run with: the same bounds, and exact versions within them."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from variants import ROOT, Answers, spread


@pytest.fixture(scope="module")
def asked(baked: Callable[[Answers], Path]) -> dict[str, SpecifierSet]:
    """The bounds in the projects of all answers, by package."""
    found: dict[str, SpecifierSet] = {}
    for variant in spread():
        project = tomllib.loads((baked(variant) / "pyproject.toml").read_text(encoding="utf-8"))
        for text in [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]:
            requirement = Requirement(text)
            known = found.setdefault(requirement.name, requirement.specifier)
            assert requirement.specifier == known, f"{requirement.name} has other bounds with other answers"
    return found


def test_the_tests_have_the_bounds_of_the_projects(asked: dict[str, SpecifierSet]) -> None:
    template = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    ours = {
        requirement.name: requirement.specifier
        for requirement in map(Requirement, template["dependency-groups"]["dev"])
    }
    assert {name: ours.get(name) for name in asked} == asked


def test_each_bound_has_a_lowest_version(asked: dict[str, SpecifierSet]) -> None:
    """Else the lowest one that there is would be tested, from another age of Python."""
    assert {
        name for name, bounds in asked.items() if not any(part.operator in {">=", "=="} for part in bounds)
    } == set()


def test_the_exact_versions_are_within_the_bounds(asked: dict[str, SpecifierSet]) -> None:
    pins: dict[str, list[Requirement]] = {}
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        pins.setdefault(Requirement(line).name, []).append(Requirement(line))
    for name, bounds in asked.items():
        assert pins[name]
        for pin in pins[name]:
            (exact,) = pin.specifier
            assert exact.operator == "=="
            assert bounds.contains(exact.version), f"{pin} is out of {bounds}"
