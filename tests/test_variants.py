"""Variants pass their own tests, against one Prefect server.

In `make test-all` every two answers occur in one of them, if a project can have both, and each runs all of its tests.
In `make test` every answer occurs, and slow tests run in some. Which answers a test depends on is no opinion of this
file: a flow's run reaches almost every part of a project, and so do almost all tests that take long.
"""

import hashlib
import json
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from functools import cache
from importlib import metadata
from pathlib import Path, PurePosixPath

import pytest
from conftest import turn
from forks import Forks
from tree import has, placed
from variants import (
    ALL,
    CHOICES,
    DEFAULTS,
    ROOT,
    TEMPLATE,
    Answers,
    Options,
    command,
    hook,
    name,
    together_in,
)

TESTS_TIMEOUT = 3000.0
"""Seconds for a part of one variant's tests."""
PARTS = 4
"""The parts of all tests of a variant, by files, for which processes take turns."""
SLOW = 2
"""In how many variants `make test` runs the slow tests of a file: not in all, for they take most of the time."""
LONG = (
    *("test_proof.py::test_flows_with", "test_proof.py::test_interrupted", "test_proof.py::test_nothing_that"),
    *("test_proof.py::test_proof_without", "test_proof.py::test_sound", "test_heartbeats.py"),
    "test_deployment.py::test_worker_runs",
)
"""What `make test` leaves to `make test-all`: kills by dozens, and waiting until a server finds a run crashed."""
ON_CLUSTERS = "test_runners or test_clusters or test_killed"
"""What `make test` runs in the variants of Dask and Ray, as pytest's option -k: their tests take long to start."""
PASSED = ROOT / ".passed"
"""What passed in `make test-all`: a stopped one goes on from there."""

HERE = {
    **CHOICES,
    "python_version": [
        version for version in CHOICES["python_version"] if tuple(map(int, version.split("."))) <= sys.version_info[:2]
    ],
}
"""The answers of projects that this Python can run; `test_pythons.py` has those of others."""

Run = tuple[Answers, str, list[str]]
"""A variant, which of its tests run, and pytest's options for them."""


def counts(output: str) -> dict[str, int]:
    """Read pytest's last line: how many tests passed, failed, were skipped and so on."""
    summaries = re.findall(r"^(?:=+ )?(\d+ [a-z]+(?:, \d+ [a-z]+)*) in [\d.]+s.*$", output, re.MULTILINE)
    found = re.findall(r"(\d+) ([a-z]+)", summaries[-1]) if summaries else []
    return {outcome: int(number) for number, outcome in found}


def skips(output: str) -> list[str]:
    """Read the reasons for which tests were skipped, without where they stand."""
    return [re.sub(r"^\S+?(:\d+)?: ", "", line) for line in re.findall(r"^SKIPPED \[\d+\] (.+)$", output, re.MULTILINE)]


def files() -> Iterator[tuple[PurePosixPath, Mapping[str, set[str]]]]:
    """Yield what a file of the template becomes, and to each prompt the answers with one of which a project has it."""
    needed = hook("post_gen_project").NEEDED
    for file, answers in placed():
        path = PurePosixPath(str(file).replace("{{cookiecutter.package_name}}", "durable_flights"))
        for more in next((some for place, some in needed.items() if path.is_relative_to(place)), [{}]):
            yield path, {**answers, **{prompt: {answer} for prompt, answer in more.items()}}


@cache
def of_tests() -> list[tuple[str, Mapping[str, set[str]]]]:
    """Return the files of tests that projects have, likewise."""
    found = [(path, given) for path, given in files() if path.parts[0] == "tests" and path.match("test_*.py")]
    return sorted(((str(path), given) for path, given in found), key=lambda each: each[0])


def all_runs() -> Iterator[Run]:
    """Yield the runs of `make test-all`: of variants in which every two answers occur, in parts."""
    for variant in Options(HERE, TEMPLATE.refused).pairwise():
        paths = [path for path, given in of_tests() if has(variant, given)]
        for number in range(PARTS):
            yield variant, f"{number + 1}", paths[number::PARTS]


def few_runs(turn: int) -> Iterator[Run]:
    """Yield the runs of `make test`: of few variants in which every answer occurs, and of what no such variant has."""
    without = [f"--deselect=tests/durable/{test}" for test in LONG]
    variants = Options({**HERE, "task_runner": [DEFAULTS["task_runner"]]}, TEMPLATE.refused).spread()
    for variant, paths in zip(variants, dealt(variants, turn), strict=True):
        yield variant, "fast", ["-m", "not slow", "tests"]
        for number in range(2):
            yield variant, f"slow-{number + 1}", ["-m", "slow", *without, *paths[number::2]]
    for runner in CHOICES["task_runner"][1:]:
        yield {**DEFAULTS, "task_runner": runner}, "clusters", ["-k", ON_CLUSTERS, *without, "tests"]
    for path, given in files():
        if "task_runner" not in given and not any(has(variant, given) for variant in variants):
            test = f"test_{path.stem.removeprefix('test_')}"
            yield (
                {**DEFAULTS, **{prompt: min(some) for prompt, some in given.items()}},
                test,
                [f"tests/durable/{test}.py"],
            )


def dealt(variants: list[Answers], turn: int) -> list[list[str]]:
    """Deal the files of tests out: return those whose slow tests run in each variant.

    Each file has its turn in each variant that has it, in `SLOW` of them at a time.
    """
    found: list[list[str]] = [[] for _ in variants]
    for number, (path, given) in enumerate(of_tests()):
        having = [place for place, variant in enumerate(variants) if has(variant, given)]
        for more in range(min(SLOW, len(having))):
            found[having[(number + turn + more) % len(having)]].append(path)
    return found


RUNS = [*(all_runs() if ALL else few_runs(turn()))]


@pytest.fixture(scope="session")
def own_tests(environment: dict[str, str], api: str) -> Iterator[Callable[[Path, list[str]], tuple[int, str]]]:
    """Run pytest in a project, in a fork; return the exit code and the output."""
    forks = Forks({**environment, "PREFECT_API_URL": api})
    yield lambda project, arguments: forks.pytest(project, arguments, TESTS_TIMEOUT)
    forks.end()


def content(project: Path, options: list[str]) -> str:
    """Return what a run of tests depends on, as a hash: the project, which tests, and the versions of what is there."""
    ours = [*Path(__file__).parent.glob("*.py"), *Path(__file__).parent.glob("preload/*.py")]
    texts = sorted(path for path in [*project.rglob("*"), *ours] if path.is_file() and path.suffix != ".pyc")
    versions = sorted(f"{each.name} {each.version}" for each in metadata.distributions())
    found = hashlib.sha256(repr([platform.python_version(), versions, options]).encode())
    for path in texts:
        found.update(repr((path.name, path.read_bytes())).encode())
    return found.hexdigest()


@pytest.mark.slow
@pytest.mark.rotating
@pytest.mark.parametrize(
    ("variant", "options"),
    [pytest.param(variant, options, id=f"{name(variant)}-{part}") for variant, part, options in RUNS],
)
def test_a_variant_passes_its_own_tests(
    baked: Callable[[Answers], Path],
    copy: Callable[[Path], Path],
    own_tests: Callable[[Path, list[str]], tuple[int, str]],
    variant: Answers,
    options: list[str],
    record_property: Callable[[str, object], None],
) -> None:
    record_property("variant", name(variant))
    record_property("command", command(variant))
    project = copy(baked(variant))
    passed = PASSED / content(baked(variant), options)
    if ALL and passed.exists():
        known = json.loads(passed.read_text(encoding="utf-8"))
        for key, value in known.items():
            record_property(key, value)
        pytest.skip(f"passed with the same content and versions on {known['date']}")
    began = time.monotonic()
    # A fork takes as long to import the plugins of other libraries as for most tests.
    without = [f"-pno:{plugin}" for plugin in ("cacheprovider", "anyio", "cookies")]
    code, output = own_tests(project, ["-q", "-rfEs", "--color=no", *without, *options])
    found = counts(output)
    ran = sum(number for outcome, number in found.items() if outcome in {"passed", "failed", "xfailed", "xpassed"})
    done = {"ran": ran, "skips": skips(output), "seconds": time.monotonic() - began}
    for key, value in done.items():
        record_property(key, value)
    lines = output.splitlines()
    # What libraries log would fill the end.
    tail = "\n".join([*[line for line in lines if line.startswith(("E ", ">"))][-40:], *lines[-30:]])
    assert code == 0, f"{tail}\n\nBake it again with:\n  {command(variant)}"
    assert ran, f"no test ran:\n{tail}"
    if ALL:
        PASSED.mkdir(exist_ok=True)
        passed.write_text(json.dumps({**done, "date": f"{date.today()}"}), encoding="utf-8")


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("...\n3 passed in 0.10s\n", {"passed": 3}),
        ("== 1 failed, 2 passed, 4 skipped in 61.00s (0:01:01) ==\n", {"failed": 1, "passed": 2, "skipped": 4}),
        ("3 passed in 0.10s\n1 passed, 1 warning in 2.00s\n", {"passed": 1, "warning": 1}),
        ("no tests ran in 0.01s\n", {}),
        ("Traceback\n", {}),
    ],
)
def test_the_summary_of_a_run_is_understood(output: str, expected: dict[str, int]) -> None:
    assert counts(output) == expected


def test_the_reasons_of_skips_are_understood() -> None:
    output = "SKIPPED [2] tests/test_upsert.py:12: no server: none found\nSKIPPED [1] tests/a.py: later\n"
    assert skips(output) == ["no server: none found", "later"]


def test_the_environment_of_a_run_is_its_own(environment: dict[str, str]) -> None:
    assert not [name for name in environment if name.startswith(("PYTEST_", "COV_", "MAKE", "ARGS"))]
    assert [name for name in environment if name.startswith("PREFECT_")] == ["PREFECT_HOME"]
    assert environment["HOME"] == os.environ["HOME"]


def test_every_answer_is_tested_and_every_two_in_the_whole_proof() -> None:
    size = 2 if ALL else 1
    found = set().union(*(together_in(variant, size) for variant, *_ in RUNS))
    options = Options(HERE, TEMPLATE.refused)
    assert found == {some for some in options.together(size) if options.completed(dict(some), set())}


def test_every_file_of_the_template_is_tested() -> None:
    for path, given in files():
        assert any(has(variant, given) for variant, *_ in RUNS), f"{path} of {given}"


def test_slow_tests_have_their_turn_in_each_variant_that_has_them() -> None:
    variants = TEMPLATE.pairwise()[:12]
    turns = [dealt(variants, turn) for turn in range(len(variants))]
    for path in {path for path, _ in of_tests()}:
        having = [any(path == own and has(variant, given) for own, given in of_tests()) for variant in variants]
        assert [any(path in turn[place] for turn in turns) for place in range(len(variants))] == having
        assert all(any(path in some for some in each) for each in turns)


def test_content_is_what_a_run_depends_on(tmp_path: Path) -> None:
    file = tmp_path / "tests" / "test_one.py"
    file.parent.mkdir()
    file.write_text("")
    first = content(tmp_path, ["tests/test_one.py"])
    assert content(tmp_path, ["tests/test_one.py"]) == first
    assert content(tmp_path, ["tests/test_two.py"]) != first
    file.write_text("\n")
    assert content(tmp_path, ["tests/test_one.py"]) != first
