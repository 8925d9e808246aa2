"""The types of each variant are right, as mypy sees them."""

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from forks import MODULES
from variants import ALL, CORE, Answers, chosen, command

Check = Callable[[Path], str]


PARTS = 4 if ALL else 1
"""So many tests share the variants."""


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_types_are_right(
    baked: Callable[[Answers], Path], copy: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory, part: int
) -> None:
    """Many variants in a test: what one process knows of the libraries and of one variant serves for the next."""
    # Neighbours have most answers in common, and so most modules.
    variants = sorted(chosen(), key=lambda variant: [variant[prompt] for prompt in CORE])
    variants = variants[len(variants) * part // PARTS : len(variants) * (part + 1) // PARTS]
    wrong = copy(baked(variants[0]))
    settings = wrong / "src" / "durable_flights" / "settings.py"
    settings.write_text(settings.read_text() + "\nwrong: int = settings\n")
    with checker([baked(variant) for variant in variants], tmp_path_factory.mktemp("types")) as faults:
        assert "Incompatible types in assignment" in faults(wrong)
        found = {command(variant): faults(baked(variant)) for variant in variants}
    reports = [f"{said}\nBake it again with:\n  {bake}" for bake, said in found.items() if said]
    assert not reports, f"{len(reports)} of {len(found)} variants\n" + "\n\n".join(reports[:5])


@contextmanager
def checker(projects: Iterable[Path], folder: Path) -> Iterator[Check]:
    """Yield what says which types of a project are wrong, if any: mypy's daemon, which keeps what it has read.

    It reads one folder, into which each project is put in turn, with one configuration, for it begins anew with another
    one: that of the projects, with the sum of the modules that any of them names as untyped. Beside them stands a
    module that imports all libraries, which it would forget otherwise where a project has no use for them.
    """
    place = folder / "place"
    place.mkdir()
    libraries = folder / "libraries.py"
    libraries.write_text("".join(f"import {module}\n" for module in MODULES))
    configuration = folder / "mypy.ini"
    configuration.write_text(ini(projects, libraries))
    program = [Path(sys.executable).with_name("dmypy"), "--status-file", folder / "status"]
    options = ["--config-file", configuration, f"--cache-dir={folder / 'cache'}", "--no-error-summary"]

    def faults(project: Path) -> str:
        for old in place.iterdir():
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        shutil.copytree(project, place, dirs_exist_ok=True)
        done = subprocess.run([*program, "run", "--", *options], cwd=place, capture_output=True, text=True, check=False)
        return "" if done.returncode == 0 else f"mypy exits with {done.returncode}: {done.stdout}{done.stderr}"

    try:
        yield faults
    finally:
        subprocess.run([*program, "kill"], cwd=place, capture_output=True, check=False)


def ini(projects: Iterable[Path], libraries: Path) -> str:
    """Join the projects' configurations of mypy."""
    ours = [
        tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"] for project in projects
    ]
    untyped = set()
    for mypy in ours:
        for override in mypy.pop("overrides", []):
            assert override.keys() == {"module", "ignore_missing_imports"}, override
            untyped |= set(override["module"])
    assert all(mypy == ours[0] == {"files": ["src", "tests"], "strict": True} for mypy in ours), ours
    sections = [f"[mypy-{module}]\nignore_missing_imports = True\n" for module in sorted(untyped)]
    return f"[mypy]\nfiles = src, tests, {libraries}\nstrict = True\n" + "".join(sections)
