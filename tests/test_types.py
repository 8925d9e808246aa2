"""The types of each variant are right, as mypy sees them."""

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from variants import ALL, CORE, Answers, Together, chosen, command, together_in

Check = Callable[[Path], str]

CODE = (*CORE, "task_runner", "deployment")


def covering(variants: list[Answers]) -> list[Answers]:
    """Return variants that have the answers that these have, of prompts that choose code.

    In `make test` each answer, in `make test-all` any three together.
    """
    sets = [together_in({prompt: variant[prompt] for prompt in CODE}, 3 if ALL else 1) for variant in variants]
    left = set[Together]().union(*sets)
    some = []
    while left:
        best = max(range(len(variants)), key=lambda place: len(sets[place] & left))
        some.append(variants[best])
        left -= sets[best]
    return some


@pytest.mark.rotating
@pytest.mark.slow
def test_types_are_right(
    baked: Callable[[Answers], Path], copy: Callable[[Path], Path], tmp_path: Path, types_cache: Path
) -> None:
    """All variants in a test: what mypy has found out about the libraries for one serves for the next."""
    # Neighbours have most answers in common, and so most modules.
    variants = sorted(covering(chosen()), key=lambda variant: [variant[prompt] for prompt in CORE])
    wrong = copy(baked(variants[0]))
    settings = wrong / "src" / "durable_flights" / "durable" / "settings.py"
    settings.write_text(settings.read_text() + "\nwrong: int = settings\n")
    faults = checker(tmp_path / "place", types_cache)
    assert "Incompatible types in assignment" in faults(wrong)
    found = {command(variant): faults(baked(variant)) for variant in variants}
    reports = [f"{said}\nBake it again with:\n  {bake}" for bake, said in found.items() if said]
    assert not reports, f"{len(reports)} of {len(found)} variants\n" + "\n\n".join(reports[:5])


def checker(place: Path, cache: Path) -> Check:
    """Return what says which types of a project are wrong, if any.

    Each project is put into one folder in turn, so that mypy reads the libraries from the cache of the one before.
    """
    options = [f"--cache-dir={cache}", "--no-error-summary"]

    def faults(project: Path) -> str:
        assert_strict(project)
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(project, place)
        done = subprocess.run(
            [sys.executable, "-m", "mypy", *options], cwd=place, capture_output=True, text=True, check=False
        )
        return "" if done.returncode == 0 else f"mypy exits with {done.returncode}: {done.stdout}{done.stderr}"

    return faults


def assert_strict(project: Path) -> None:
    """Fail where a project's own configuration of mypy passes over more than libraries without types."""
    mypy = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
    for override in mypy.pop("overrides", []):
        assert override.keys() == {"module", "ignore_missing_imports"}, override
    assert mypy == {"files": ["src", "tests"], "strict": True}
