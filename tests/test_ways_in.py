"""A project is the same, bytes and modes, whichever way it was made.

A zip keeps no exec bits: no file of a project has one, so nothing is lost.
"""

import functools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from history import git
from projects import Snapshot, cookiecutter, cruft, snapshot
from variants import Answers, typed

Make = Callable[..., Snapshot]
Expected = Callable[[str], Snapshot]

VARIANTS: dict[str, Answers] = {
    "defaults": {},
    "others": {
        "result_storage": "s3",
        "upsert": "postgres",
        "checkpoint": "none",
        "license": "Proprietary",
        "ci": "none",
    },
    "awkward": {
        "project_name": 'O\'Neil & "Sons"',
        "description": "{{ 7*7 }} {% \\ # ünï 👩‍👩‍👧‍👦",
        "author_name": "C:\\new\\",
    },
}
each_variant = pytest.mark.parametrize("variant", VARIANTS)


@pytest.fixture(scope="module")
def folder(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of the template."""
    parent = tmp_path_factory.mktemp("checkout")
    git(parent, "clone", "--quiet", str(repository), "template")
    return parent / "template"


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Make a project with Cookiecutter's command, and return what is in it."""

    def make(template: object, answers: Answers, *options: str) -> Snapshot:
        output = tmp_path_factory.mktemp("output")
        given = [f"{prompt}={answer}" for prompt, answer in typed(answers).items()]
        cookiecutter(template, "--output-dir", output, *(options or ["--no-input", *given]))
        (project,) = output.iterdir()
        return snapshot(project)

    return make


@pytest.fixture(scope="module")
def expected(make: Make, folder: Path) -> Expected:
    """What comes of a folder, made once."""
    return functools.cache(lambda variant: make(folder, VARIANTS[variant]))


@each_variant
def test_git(make: Make, expected: Expected, repository: Path, variant: str) -> None:
    assert make(f"git+file://{repository}", VARIANTS[variant]) == expected(variant)


@each_variant
def test_zip(make: Make, expected: Expected, repository: Path, tmp_path: Path, variant: str) -> None:
    """An archive as the places that host repositories offer it: in a folder that is named after the branch."""
    archive = tmp_path / "template.zip"
    git(repository, "archive", "--format=zip", "--prefix=template-main/", f"--output={archive}", "HEAD")
    assert make(archive, VARIANTS[variant]) == expected(variant)


@each_variant
def test_replay(make: Make, folder: Path, variant: str) -> None:
    first = make(folder, VARIANTS[variant])
    assert make(folder, {}, "--replay") == first


@each_variant
def test_cruft(expected: Expected, repository: Path, tmp_path: Path, variant: str) -> None:
    given = json.dumps(typed(VARIANTS[variant]))
    cruft("create", repository, "--no-input", "--extra-context", given, "--output-dir", tmp_path)
    (project,) = tmp_path.iterdir()
    assert json.loads((project / ".cruft.json").read_text())["commit"] == git(repository, "rev-parse", "HEAD").strip()
    assert snapshot(project) == expected(variant)


@each_variant
def test_no_file_is_executable(expected: Expected, variant: str) -> None:
    modes = {name: mode for name, (mode, _) in expected(variant).items() if mode[0] != "d"}
    assert modes
    assert [name for name, mode in modes.items() if "x" in mode] == []
