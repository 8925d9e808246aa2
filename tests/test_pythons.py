"""Whole projects pass their tests on the lowest and on the newest Python that they support, as owners run them."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import pythons
from docs_gallery import EXHIBITS
from projects import alone, run_make
from pythons import MissingError, ends, find, on_machine
from variants import DEFAULTS, ROOT, SPREAD, Answers, command, given, name, spread

REQUIRES = re.search(
    r'^requires-python = ">=\{\{ cookiecutter.python_version \}\},<3\.(\d+)"$',
    (ROOT / "{{cookiecutter.project_slug}}" / "pyproject.toml").read_text(encoding="utf-8"),
    re.MULTILINE,
)
assert REQUIRES
NEWEST = f"3.{int(REQUIRES[1]) - 1}"
GALLERY = [{**DEFAULTS, **exhibit.answers} for exhibit in EXHIBITS.values()]
PLACES = [(variant, version) for variant in spread() for version in (variant["python_version"], NEWEST)]
PLACES += [(variant, NEWEST) for variant in GALLERY]
NAMED = {f"{name(variant)}-{version}": (variant, version) for variant, version in PLACES}
RUNS = [pytest.param(*place, id=known) for known, place in NAMED.items()]
TIMEOUT = 2400.0
"""Seconds, with all that is installed, for a cluster's project on a busy machine."""

Baked = Callable[[Answers], Path]
Record = Callable[[str, object], None]


@pytest.mark.skipif(not SPREAD, reason="installs whole projects on other Pythons: make test-pythons runs it")
@pytest.mark.parametrize(("variant", "version"), RUNS)
def test_a_project_passes_its_tests_on_this_python(
    baked: Baked,
    environment: dict[str, str],
    together: Path,
    uv: str,
    record_property: Record,
    variant: Answers,
    version: str,
) -> None:
    try:
        python = find(version, uv)
    except MissingError as missing:
        pytest.skip(str(missing))
    with alone(baked(variant), environment) as (project, names):
        # What several projects install is downloaded once.
        names |= {"UV_CACHE_DIR": str(together / "uv")}
        flow = ("NAME=orders", "FLOW=load-orders")
        done = run_make(project, names, "setup", "flow", "run", "test", *flow, f"PYTHON={python}", timeout=TIMEOUT)
        skips = [f"{reason[0].upper()}{reason[1:]} ({count})" for reason, count in done.skipped.items()]
        outcome = "passed" if done.code == 0 else f"exit code {done.code}"
        answers = f"`{given(variant)}`" if variant != DEFAULTS else "the defaults"
        skipped = ". ".join(skips) or "none"
        row = [answers, done.python, done.prefect, outcome, str(done.passed), skipped, f"{done.seconds:.0f}"]
        record_property("row", row)
        assert done.code == 0, f"{done.output[-6000:]}\n\nBake it again with:\n  {command(variant)}"
        assert done.python.startswith(f"{version}.")
        assert f"Python {done.python}, in .venv" in done.output
        assert done.passed


@pytest.mark.parametrize("variant", [pytest.param(variant, id=name(variant)) for variant in spread()])
def test_both_ends_of_what_a_project_supports_are_tested(baked: Baked, variant: Answers) -> None:
    text = (baked(variant) / "pyproject.toml").read_text(encoding="utf-8")
    (requires,) = re.findall(r'^requires-python = "(.*)"$', text, re.MULTILINE)
    tested = [version for _, version in (run.values for run in RUNS if run.values[0] == variant)]
    assert tested == list(dict.fromkeys(ends(requires)))


# Which Python is found


@pytest.mark.parametrize(
    ("requires", "expected"), [(">=3.11,<3.15", ("3.11", "3.14")), (">=3.9,<3.10", ("3.9", "3.9"))]
)
def test_ends_are_read(requires: str, expected: tuple[str, str]) -> None:
    assert ends(requires) == expected


@pytest.mark.parametrize("requires", [">=3.11", "<3.15", ">=3.11,<4", "==3.11"])
def test_an_open_end_is_an_error(requires: str) -> None:
    with pytest.raises(ValueError, match="not of the form"):
        ends(requires)


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_the_first_python_that_works_is_found(tmp_path: Path) -> None:
    ours = ".".join(map(str, sys.version_info[:2]))
    places = [tmp_path / name for name in ("nothing", "shim", "other", "poor", "folder", "right", "late")]
    program(places[1] / f"python{ours}", "echo 'no such version is set' >&2; exit 127")
    program(places[2] / f"python{ours}", "printf 'False\\n/usr/bin/python3\\n'")
    program(places[3] / f"python{ours}", "echo \"No module named 'ssl'\" >&2; exit 1")
    (places[4] / f"python{ours}").mkdir(parents=True)
    for place in places[5:]:
        program(place / f"python{ours}", f'exec {sys.executable} "$@"')
    assert on_machine(ours, places[:5]) is None
    assert on_machine(ours, places) == Path(sys.executable)


def test_a_python_that_cannot_be_had_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pythons, "FOLDER", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingError, match=r"^Python 3\.99 is not on this machine, and Debian's packages give none"):
        find("3.99", "uv")


# Which Python an environment gets


def fake(folder: Path, name: str, version: str) -> Path:
    """Write a Python that says that it is of another version."""
    said = repr((*map(int, version.split(".")), "final", 0))
    return program(
        folder / name,
        f'case "$1" in --version) echo "Python {version}" ;; -m) ;;\n'
        f"-c) exec {sys.executable} -c \"import sys; sys.version_info = {said}; sys.executable = '$0'\n$2\" ;; esac",
    )


@pytest.fixture
def setup(
    baked: Baked, copy: Callable[[Path], Path], environment: dict[str, str], tmp_path: Path
) -> Callable[..., tuple[int, list[str], list[str]]]:
    """Call `make setup` where Pythons and uv are fakes; return its code, what it says, and how it has called uv."""
    project = copy(baked({"python_version": "3.12"}))
    folder = tmp_path / "programs"
    calls = tmp_path / "calls"
    program(
        folder / "uv",
        f'echo "$@" >> {calls}; mkdir -p .venv/bin\n'
        'while test "$1" != --python; do shift; done; test "$2" -ef .venv/bin/python || ln -sf "$2" .venv/bin/python',
    )
    names = {**environment, "PATH": f"{folder}{os.pathsep}{environment['PATH']}"}

    def setup(*arguments: str) -> tuple[int, list[str], list[str]]:
        calls.write_text("")
        done = subprocess.run(
            ["make", "--no-print-directory", "setup", *arguments],
            cwd=project,
            env=names,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, (done.stdout + done.stderr).splitlines(), calls.read_text().splitlines()

    return setup


def test_an_environment_has_the_python_of_the_path(setup: Callable[..., object], tmp_path: Path) -> None:
    python = fake(tmp_path / "programs", "python3", "3.13.4")
    sync = f"sync --quiet --compile-bytecode --no-python-downloads --python {python}"
    assert setup() == (0, ["Python 3.13.4, in .venv"], [sync])
    assert setup() == (0, ["Python 3.13.4, in .venv"], [])


def test_an_environment_keeps_its_python_until_another_is_given(setup: Callable[..., object], tmp_path: Path) -> None:
    fake(tmp_path / "programs", "python3", "3.12.0")
    for version in ("3.13.4", "3.14.0"):
        python = fake(tmp_path / "programs", f"python{version[:4]}", version)
        sync = f"sync --quiet --compile-bytecode --no-python-downloads --python {python}"
        assert setup(f"PYTHON=python{version[:4]}") == (0, [f"Python {version}, in .venv"], [sync])
        (project,) = (ready.parents[1] for ready in tmp_path.glob("*/.venv/.ready"))
        os.utime(project / ".venv" / ".ready", (0, 0))
        sync = "sync --quiet --compile-bytecode --no-python-downloads --python .venv/bin/python"
        assert setup() == (0, [f"Python {version}, in .venv"], [sync])


@pytest.mark.parametrize(
    ("version", "said"),
    [("3.11.9", "Python 3.11.9"), ("3.15.0", "Python 3.15.0"), ("2.7.18", "Python 2.7.18"), (None, "missing")],
)
def test_a_python_that_is_not_supported_is_refused_in_one_line(
    setup: Callable[..., tuple[int, list[str], list[str]]], tmp_path: Path, version: str | None, said: str
) -> None:
    fake(tmp_path / "programs", "python3", "3.12.0")
    if version:
        fake(tmp_path / "programs", "python3.x", version)
    code, (line, _), calls = setup("PYTHON=python3.x")
    assert line == (
        f"this project needs Python >=3.12,<3.15, and python3.x is {said};"
        " give another one: make setup PYTHON=python3.12"
    )
    assert (code, calls) == (2, [])
