"""Each variant passes its own tests, all of them, against one Prefect server.

`make test` runs them in a few variants that hold each answer. `make test-all` runs them in variants that hold each pair
of answers, of the prompts that choose code.
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from forks import Forks
from variants import ALL, CHOICES, CODE, Answers, command, name, pairwise_code, spread

TESTS_TIMEOUT = 2400.0
"""Seconds for a part of one variant's tests."""
PARTS = 12
"""How many parts a variant's tests are run in, so that they can run beside each other, and take turns by day."""
LONG = [
    f"tests/durable/{test}"
    for test in (
        "test_deployment.py::test_worker_runs_what_was_deployed",
        "test_heartbeats.py::test_killed_run_is_crashed_by_the_server_and_resumed",
        "test_proof.py::test_flows_with_a_planted_fault_are_convicted",
        "test_proof.py::test_interrupted_proof_leaves_nothing_behind",
        "test_proof.py::test_nothing_that_the_environment_names_is_used",
        "test_proof.py::test_proof_without_a_kill_is_none",
        "test_proof.py::test_sound_flow_is_acquitted_and_nothing_of_the_owner_is_touched",
    )
]
"""These take minutes: only `make test-all` runs them, with each answer. `test_own_flow.py` tries some of it."""


def counts(output: str) -> dict[str, int]:
    """Read pytest's last line: how many tests passed, failed, were skipped and so on."""
    summaries = re.findall(r"^(?:=+ )?(\d+ [a-z]+(?:, \d+ [a-z]+)*) in [\d.]+s.*$", output, re.MULTILINE)
    found = re.findall(r"(\d+) ([a-z]+)", summaries[-1]) if summaries else []
    return {outcome: int(number) for number, outcome in found}


def skips(output: str) -> list[str]:
    """Read the reasons for which tests were skipped, without where they stand."""
    return [re.sub(r"^\S+?(:\d+)?: ", "", line) for line in re.findall(r"^SKIPPED \[\d+\] (.+)$", output, re.MULTILINE)]


def runs() -> list[Any]:
    """Return variants with the part of their tests that is to run: its number, or 0 for the long ones."""
    parts = range(1, PARTS + 1)
    some = [(variant, part) for variant in (pairwise_code() if ALL else spread()) for part in parts]
    some += [(variant, 0) for variant in (spread() if ALL else [])]
    return [pytest.param(variant, part, id=f"{name(variant)}-{part or 'long'}") for variant, part in some]


def files(project: Path) -> list[str]:
    """Return the files of a project that hold tests."""
    return sorted(path.relative_to(project).as_posix() for path in (project / "tests").rglob("test_*.py"))


def long(project: Path) -> list[str]:
    """Return the long tests that a project has."""
    texts = {file: (project / file).read_text(encoding="utf-8") for file in files(project)}
    return [test for test in LONG if f"\ndef {test.partition('::')[2]}(" in texts.get(test.partition("::")[0], "")]


@pytest.fixture(scope="session")
def own_tests(environment: dict[str, str], api: str) -> Iterator[Callable[[Path, list[str]], tuple[int, str]]]:
    """Run pytest in a project, in a fork; return the exit code and the output."""
    forks = Forks({**environment, "PREFECT_API_URL": api})
    yield lambda project, arguments: forks.pytest(project, arguments, TESTS_TIMEOUT)
    forks.end()


@pytest.mark.slow
@pytest.mark.rotating
@pytest.mark.parametrize(("variant", "part"), runs())
def test_a_variant_passes_its_own_tests(
    baked: Callable[[Answers], Path],
    copy: Callable[[Path], Path],
    own_tests: Callable[[Path, list[str]], tuple[int, str]],
    variant: Answers,
    part: int,
    record_property: Callable[[str, object], None],
) -> None:
    record_property("variant", name(variant))
    record_property("command", command(variant))
    project = copy(baked(variant))
    wanted = files(project)[part - 1 :: PARTS] if part else long(project)
    others = [f"--deselect={test}" for test in LONG] if part else []
    began = time.monotonic()
    # A fork takes as long to import the plugins of other libraries as for most tests.
    without = [f"-pno:{plugin}" for plugin in ("cacheprovider", "anyio", "cookies")]
    code, output = own_tests(project, ["-q", "-rfEs", "--color=no", *without, *others, *wanted])
    found = counts(output)
    ran = sum(number for outcome, number in found.items() if outcome in {"passed", "failed", "xfailed", "xpassed"})
    record_property("ran", ran)
    record_property("skips", skips(output))
    record_property("seconds", time.monotonic() - began)
    lines = output.splitlines()
    # What libraries log would fill the end.
    tail = "\n".join([*[line for line in lines if line.startswith(("E ", ">"))][-40:], *lines[-30:]])
    assert code == 0, f"{tail}\n\nBake it again with:\n  {command(variant)}"
    if not ran and found.get("skipped"):
        pytest.skip("; ".join(dict.fromkeys(skips(output))))
    assert ran, f"no test ran:\n{tail}"


@pytest.mark.parametrize("variant", [pytest.param(variant, id=name(variant)) for variant in spread()])
def test_the_parts_hold_all_tests_of_a_variant(baked: Callable[[Answers], Path], variant: Answers) -> None:
    project = baked(variant)
    parts = [files(project)[part - 1 :: PARTS] for part in range(1, PARTS + 1)]
    assert all(parts)
    assert sorted(chain.from_iterable(parts)) == files(project)
    if variant["deployment"] == "process":
        assert long(project) == LONG


def test_the_other_prompts_change_neither_code_nor_tests(baked: Callable[[Answers], Path]) -> None:
    def code(answers: Answers) -> dict[str, bytes]:
        project = baked(answers)
        paths = (path for folder in ("src", "tests", "migrations") for path in (project / folder).rglob("*"))
        return {str(path.relative_to(project)): path.read_bytes() for path in paths if path.is_file()}

    expected = code({})
    others = [{prompt: answer} for prompt, answers in CHOICES.items() if prompt not in CODE for answer in answers[1:]]
    assert others
    for answers in others:
        assert code(answers) == expected, answers


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
