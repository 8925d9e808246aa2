"""Each variant passes its own tests, against one Prefect server."""

import ast
import itertools
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from forks import Forks
from projects import path_of
from test_alone import SAMPLE
from variants import ALL, CHOICES, DEFAULTS, Answers, chosen, command, name, valid

TESTS_TIMEOUT = 2400.0
"""Seconds for what runs together of one variant's tests."""
TOGETHER = 10
"""Names of the table that run together; processes take turns with what is left."""


def counts(output: str) -> dict[str, int]:
    """Read pytest's last line: how many tests passed, failed, were skipped and so on."""
    summaries = re.findall(r"^(?:=+ )?(\d+ [a-z]+(?:, \d+ [a-z]+)*) in [\d.]+s.*$", output, re.MULTILINE)
    found = re.findall(r"(\d+) ([a-z]+)", summaries[-1]) if summaries else []
    return {outcome: int(number) for number, outcome in found}


def skips(output: str) -> list[str]:
    """Read the reasons for which tests were skipped, without where they stand."""
    return [re.sub(r"^\S+?(:\d+)?: ", "", line) for line in re.findall(r"^SKIPPED \[\d+\] (.+)$", output, re.MULTILINE)]


# The answers that tests depend on: they run once for each combination of these, in one of the variants that have it.
# In `make test`, and of `Each`, they run at least once with each of the answers.
Depends = Callable[[Answers], tuple[object, ...]]


class Sample(tuple[object, ...]):
    """Answers with which tests run in one variant of many in which they are written differently."""


class Each(Sample):
    """Answers each of which tests run with at least once, not in each combination."""


def answers_of(*prompts: str) -> Depends:
    return lambda variant: tuple(variant[prompt] for prompt in prompts)


def on_clusters(depends: Depends, kind: type[Sample], *prompts: str, always: bool = False) -> Depends:
    """Have tests whose flows run on a cluster, which takes long to start, run once for each kind of it.

    Args:
        depends: what they depend on in threads.
        kind: whether `make test-all` runs them with all combinations of further answers, or with each of these.
        prompts: the prompts of these answers.
        always: whether `make test` runs them on clusters too.
    """
    if not (ALL or always):
        return lambda variant: depends({**variant, "task_runner": "threads"})
    more = prompts if ALL else ()
    return lambda variant: (
        depends(variant)
        if variant["task_runner"] == "threads"
        else kind(variant[prompt] for prompt in ("task_runner", *more))
    )


def marks(variant: Answers) -> tuple[object, ...]:
    return variant["checkpoint"], variant["result_storage"] if variant["checkpoint"] == "storage" else ""


def marks_on_server(variant: Answers) -> bool:
    """Say whether checkpoints are in a store that a Prefect server must name."""
    return variant["checkpoint"] == "storage" and variant["result_storage"] != "local"


def marks_or_kinds(variant: Answers) -> tuple[object, ...]:
    return marks(variant) if ALL else (variant["checkpoint"],)


def flows(variant: Answers) -> tuple[object, ...]:
    return variant["checkpoint"], variant["upsert"], variant["cache_key"] == "none"


def kills_in_threads(variant: Answers) -> tuple[object, ...]:
    """Of tests that are skipped on clusters."""
    return (*flows(variant), *marks_or_kinds(variant)) if variant["task_runner"] == "threads" else ("cluster",)


def cluster(variant: Answers) -> str:
    """Return the runner of chunks; `make test` tries what both clusters share on one of them."""
    return variant["task_runner"] if ALL or variant["task_runner"] == "threads" else "cluster"


def results_count(variant: Answers) -> bool:
    """Say whether the stored results of chunks are read."""
    return variant["upsert"] == "none" or variant["checkpoint"] == "none"


# Tests of a file, or those of it whose names begin so; the longest name that fits counts.
DEPENDS: dict[str, Depends] = {
    "test_alerts.py": answers_of(),
    "test_artifacts.py": answers_of(),
    "test_attempts.py": answers_of("retry_policy"),
    "test_backfills.py": answers_of(),
    "test_bounds.py": answers_of("upsert"),
    "test_cache_keys.py": answers_of("cache_key"),
    "test_caching.py": answers_of("cache_key"),
    "test_canonical.py": lambda variant: (variant["cache_key"] == "none",),
    "test_checkpoints.py": lambda variant: (
        *marks(variant),
        variant["upsert"] if variant["checkpoint"] == "database" else "",
    ),
    "test_chunks.py": on_clusters(flows, Sample, "checkpoint"),
    "test_chunks.py::test_killed": on_clusters(flows, Each, "checkpoint", "upsert", always=True),
    "test_chunks.py::test_resuming": answers_of(),
    "test_cli.py": answers_of(),
    "test_cli.py::test_failed_chunk": on_clusters(
        lambda variant: (*flows(variant), variant["retry_policy"] == "none"), Each, "checkpoint"
    ),
    "test_cli.py::test_job_that_is_not_known": answers_of("checkpoint"),
    "test_cli.py::test_nothing_to_resume": answers_of("result_storage"),
    "test_cli.py::test_run_says": on_clusters(
        answers_of("result_storage", "cache_key", "upsert", "checkpoint"),
        Each,
        "result_storage",
        "cache_key",
        "upsert",
        "checkpoint",
    ),
    "test_cli.py::test_run_with_nothing_left": on_clusters(
        lambda variant: (*flows(variant), variant["checkpoint"] == "storage" and variant["result_storage"]),
        Each,
        "checkpoint",
    ),
    "test_cli.py::test_setup": answers_of("result_storage", "upsert", "checkpoint"),
    "test_cli.py::test_status": lambda variant: (*marks(variant), variant["upsert"] == "none"),
    "test_clusters.py": lambda variant: (
        Sample((cluster(variant), ALL and variant["upsert"] == "none")) if variant["task_runner"] != "threads" else ()
    ),
    "test_conventions.py": lambda variant: (
        variant["cache_key"],
        variant["retry_policy"],
        variant["result_storage"] == "local",
        variant["upsert"] == "none",
        variant["example"],
    ),
    "test_cursors.py": on_clusters(
        lambda variant: (*marks(variant), variant["upsert"], variant["cache_key"] == "none"), Each, "checkpoint"
    ),
    "test_cursors.py::test_killed": kills_in_threads,
    "test_cursors.py::test_resumed": kills_in_threads,
    "test_deployment.py": lambda variant: (
        variant["deployment"],
        variant["result_storage"] == "local",
        variant["deployment"] == "docker" and variant["upsert"] == "postgres",
        ALL and variant["deployment"] != "process" and variant["task_runner"] == "ray",
    ),
    "test_deployment.py::test_worker_runs": answers_of("deployment"),
    "test_doctor.py": lambda variant: (
        Each(
            [
                *(variant[prompt] for prompt in ("upsert", "checkpoint", "result_storage", "task_runner")),
                marks_on_server(variant),
            ]
        )
        if ALL
        else (marks_on_server(variant),)
    ),
    "test_durability.py": lambda variant: (variant["result_storage"], variant["cache_key"] == "none"),
    "test_effects.py": lambda variant: (variant["retry_policy"] == "none", variant["cache_key"] == "none"),
    "test_flights.py": lambda variant: (variant["example"], variant["upsert"]),
    "test_flows.py": answers_of(),
    "test_flows.py::test_store_of_other_projects": answers_of("result_storage"),
    "test_full_disk.py": lambda variant: (variant["checkpoint"] == "database" and variant["upsert"],),
    "test_heartbeats.py": answers_of(),
    "test_limits.py": answers_of(),
    "test_locks.py": lambda variant: (variant["cache_key"] == "none",),
    "test_lost_connections.py": lambda variant: (variant["checkpoint"] == "database" and variant["upsert"],),
    "test_marks.py": marks,
    "test_marks.py::test_killed": marks_or_kinds,
    "test_marks.py::test_processes_killed": marks_or_kinds,
    "test_migrations.py": answers_of("upsert"),
    "test_model.py": lambda variant: (variant["upsert"], *marks(variant)) if variant["upsert"] != "none" else ("none",),
    "test_names.py": answers_of("checkpoint"),
    "test_outbox.py": lambda variant: (variant["upsert"], variant["retry_policy"] == "none", marks_on_server(variant)),
    "test_outbox.py::test_run": on_clusters(
        lambda variant: (variant["upsert"], variant["checkpoint"], variant["retry_policy"] == "none"),
        Each,
        "upsert",
        "checkpoint",
    ),
    "test_origins.py": lambda variant: (
        variant["cache_key"],
        variant["task_runner"] == "ray" and variant["cache_key"] != "none",
    ),
    "test_outages.py": answers_of("result_storage"),
    "test_outages.py::test_run_takes": lambda variant: (variant["result_storage"], variant["cache_key"] == "none"),
    "test_outages.py::test_run_whose": lambda variant: (
        variant["result_storage"],
        variant["checkpoint"] == "storage",
        results_count(variant),
    ),
    "test_prefect_yaml.py": answers_of("deployment", "example"),
    "test_progress.py": answers_of(),
    "test_proof.py": answers_of(),
    "test_proof.py::test_fault_is": answers_of(),
    "test_proof.py::test_flows_with": lambda variant: Each(
        variant[prompt] for prompt in ("upsert", "checkpoint", "task_runner")
    ),
    "test_proof.py::test_interrupted": answers_of("task_runner"),
    "test_proof.py::test_nothing_that": lambda variant: Each(
        variant[prompt] for prompt in ("upsert", "task_runner", "result_storage")
    ),
    "test_proof.py::test_proof_without": answers_of("task_runner"),
    "test_proof.py::test_sound": lambda variant: Each(
        variant[prompt] for prompt in ("upsert", "checkpoint", "task_runner", "result_storage")
    ),
    "test_records.py": answers_of(),
    "test_results.py": lambda variant: (variant["result_storage"], results_count(variant)),
    "test_retries.py": answers_of("retry_policy"),
    "test_rows.py": answers_of("upsert"),
    "test_runners.py": lambda variant: Sample((cluster(variant),)),
    "test_server.py": answers_of(),
    "test_settings.py": answers_of("result_storage", "upsert"),
    "test_store.py": answers_of("result_storage"),
    "test_switch.py": answers_of(),
    "test_transfer.py": answers_of("upsert"),
    "test_transient.py": answers_of("retry_policy"),
    "test_upserts.py": answers_of("upsert"),
    "test_writers.py": answers_of("upsert"),
}

LONG = {test for test in DEPENDS if test.startswith("test_proof.py::") and not test.endswith("test_fault_is")}
LONG |= {"test_deployment.py::test_worker_runs", "test_heartbeats.py"}
"""Those that only `make test-all` runs: a walk of `test_own_flow.py` also has a worker's run killed and resumed."""
ALONE = [{**DEFAULTS, **some} for some in SAMPLE]
MORE_INSTALLED = {"test_canonical.py"}
"""Those that also try libraries which a project does not install."""


def runs(variants: list[Answers]) -> list[list[str]]:
    """Return, for each variant, the tests of the table that run in it.

    As few variants as will do: of those that serve as well, those that run others already, most of all those that have
    a cluster for them, then those with answers that the tests have not run with (in `make test-all` alone), then the
    cheap ones. None for what runs in `test_alone.py`.
    """
    found: list[list[str]] = [[] for _ in variants]
    clusters = [0 for _ in variants]
    there = {test: [parts(test, depends(variant)) for variant in variants] for test, depends in DEPENDS.items()}
    for test, answers in sorted(there.items(), key=lambda item: -len(set(map(str, item[1])))):
        left = set[object]().union(*answers) - alone(test) if ALL or test not in LONG else set()
        seen: set[tuple[str, str]] = set()
        while left:
            place = max(
                range(len(variants)),
                key=lambda place: (
                    len(answers[place] & left) / (1 if ALL else price(variants[place])),
                    clusters[place] if on_cluster(test, variants[place]) else 0,
                    bool(found[place]),
                    ALL and len(variants[place].items() - seen),
                    *(-part for part in cost(variants[place])),
                ),
            )
            found[place].append(test)
            clusters[place] += on_cluster(test, variants[place])
            left -= answers[place]
            seen |= variants[place].items()
    return found


def alone(test: str) -> set[object]:
    """Return the answers that tests run with in the projects that `test_alone.py` tests as a whole."""
    if not ALL or test in MORE_INSTALLED:
        return set()
    return set[object]().union(*(parts(test, DEPENDS[test](variant)) for variant in ALONE))


def on_cluster(test: str, variant: Answers) -> bool:
    """Say whether tests start a cluster in a variant."""
    return variant["task_runner"] != "threads" and isinstance(DEPENDS[test](variant), Sample)


def parts(test: str, answers: tuple[object, ...]) -> set[object]:
    """Return what of these answers tests are to run with at least once: all of them together, or each."""
    together = not answers or (ALL and not isinstance(answers, Each))
    return {answers} if together else set(enumerate(answers))


def price(variant: Answers) -> int:
    """Say how many times as long tests take in a variant: their processes connect to stores, and start clusters."""
    return (3 if variant["result_storage"] != "local" else 1) * (10 if variant["task_runner"] != "threads" else 1)


def cost(variant: Answers) -> tuple[bool, int]:
    """Say how dear the tests of a variant are, in comparison: the clients of stores far away take most."""
    return (
        variant["result_storage"] != "local",
        sum(variant[prompt] != CHOICES[prompt][0] for prompt in ("cache_key", "upsert", "checkpoint", "task_runner")),
    )


@pytest.fixture(scope="session")
def own_tests(
    environment: dict[str, str], api: str, postgres: dict[str, str]
) -> Iterator[Callable[[Path, list[str]], tuple[int, str]]]:
    """Run pytest in a project, in a fork; return the exit code and the output."""
    forks = Forks({**environment, **postgres, "PREFECT_API_URL": api})
    yield lambda project, arguments: forks.pytest(project, arguments, TESTS_TIMEOUT)
    forks.end()


@pytest.fixture(scope="session")
def postgres(baked: Callable[[Answers], Path], environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """One PostgreSQL for all variants, for a start takes 2 s: a project's own. In `make test` each starts its own."""
    if not ALL:
        yield {}
        return
    project = baked({"upsert": "postgres"})
    with tempfile.TemporaryDirectory() as folder:
        # Its server runs as another user.
        Path(folder).chmod(0o755)
        ours = {"PYTHONPATH": path_of(project), "DURABLE_FLIGHTS_HOME": folder}
        # It ends with its input, and so with this process.
        command = [sys.executable, "-m", "tests.support.sink", "sh", "-c", "echo $DURABLE_FLIGHTS_DATABASE_URL; read _"]
        with subprocess.Popen(
            command, cwd=project, env={**environment, **ours}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin
            assert process.stdout
            _, url = process.stdout.readline(), process.stdout.readline().strip()
            assert url.startswith("postgresql"), url
            yield {"TESTS_DATABASE_URL": url}
            process.stdin.close()


@cache
def candidates() -> list[Answers]:
    """Return the variants that tests may run in; in `make test`, those near the defaults too, for they are fast."""
    few = [
        {**ALONE[0], **dict(zip(prompts, answers, strict=True))}
        for prompts in itertools.chain(*(itertools.combinations(CHOICES, count) for count in (0, 1, 2)))
        for answers in itertools.product(*(CHOICES[prompt][1:] for prompt in prompts))
    ]
    return chosen() + ([] if ALL else [variant for variant in few if valid(variant)])


def with_tests() -> list[Any]:
    """Return the variants that have tests to run, and which of the table these are, a few at a time."""
    variants = candidates()
    some = [
        (variant, tests[place::count])
        for variant, tests in zip(variants, runs(variants), strict=True)
        if (count := math.ceil(len(tests) / TOGETHER))
        for place in range(count)
    ]
    return [
        pytest.param(
            variant,
            tests,
            id=f"{name(variant)}-{tests[0].removesuffix('.py')}",
        )
        for variant, tests in some
    ]


def key(test: str) -> str:
    """Return the name in the table under which a test of a project stands: its file, or the beginning of its own."""
    return max((known for known in DEPENDS if test.startswith(known)), key=len)


def own(project: Path) -> dict[str, dict[str, str]]:
    """Return the tests of a project by their names in the table, each with its text: a file, or functions of one."""
    found: dict[str, dict[str, str]] = {known: {} for known in DEPENDS}
    for file in sorted((project / "tests").rglob("test_*.py")):
        path = file.relative_to(project).as_posix()
        text = file.read_text(encoding="utf-8")
        if not any(known.startswith(f"{file.name}::") for known in DEPENDS):
            found[file.name][path] = text
            continue
        for node in ast.parse(text).body:
            if getattr(node, "name", "").lower().startswith("test"):
                assert isinstance(node, ast.FunctionDef), f"{file.name}: {node.name} is not found"
                found[key(f"{file.name}::{node.name}")][f"{path}::{node.name}"] = ast.unparse(node)
    return found


@pytest.mark.slow
@pytest.mark.rotating
@pytest.mark.parametrize(("variant", "tests"), with_tests())
def test_a_variant_passes_its_own_tests(
    baked: Callable[[Answers], Path],
    copy: Callable[[Path], Path],
    own_tests: Callable[[Path, list[str]], tuple[int, str]],
    variant: Answers,
    tests: list[str],
    record_property: Callable[[str, object], None],
) -> None:
    record_property("variant", name(variant))
    record_property("command", command(variant))
    project = copy(baked(variant))
    there = own(project)
    wanted = [test for name in tests for test in there[name]]
    assert wanted, f"there are none of {tests}"
    began = time.monotonic()
    # A fork takes as long to import the plugins of other libraries as for most tests.
    without = [f"-pno:{plugin}" for plugin in ("cacheprovider", "anyio", "cookies")]
    code, output = own_tests(project, ["-q", "-rfEs", "--color=no", *without, *wanted])
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


def test_tests_run_with_all_answers_that_they_depend_on() -> None:
    variants = candidates()
    run_in = runs(variants)
    for test, depends in DEPENDS.items():
        ran = [depends(variant) for variant, tests in zip(variants, run_in, strict=True) if test in tests]
        found = [parts(test, answers) for answers in ran]
        wanted = set().union(*(parts(test, depends(variant)) for variant in variants if ALL or test not in LONG))
        assert wanted == (alone(test) & wanted).union(*found), test
        # In `make test`, two cheap variants may run what a dear one would.
        for number, some in enumerate(found if ALL else []):
            assert some - alone(test).union(*found[:number]), f"{test} runs with {ran[number]} for nothing"


def test_tests_are_the_same_where_they_depend_on_the_same(baked: Callable[[Answers], Path]) -> None:
    """All tests are in the table, and the template writes each the same way for the answers that the table names.

    In `make test-all`, all of them run, however they are written.
    """
    first: dict[tuple[str, object], tuple[dict[str, str], str]] = {}
    there: set[tuple[str, str]] = set()
    ran: set[tuple[str, str]] = set()
    names = set()
    variants = candidates()
    for variant, tests in zip(variants, runs(variants), strict=True):
        if not tests and variant not in chosen():
            continue
        there_are = own(baked(variant))
        assert not tests or any(there_are[test] for test in tests), f"{name(variant)} has none of {tests}"
        for test, texts in there_are.items():
            names |= {test} if texts else set()
            answers = DEPENDS[test](variant)
            if ALL:
                there |= texts.items()
            ran |= texts.items() if test in tests else set()
            if not isinstance(answers, Sample):
                known, other = first.setdefault((test, answers), (texts, name(variant)))
                assert texts == known, f"{test} of {name(variant)} is not that of {other}"
    if ALL:
        ran |= {item for variant in ALONE for texts in own(baked(variant)).values() for item in texts.items()}
    assert names == set(DEPENDS)
    assert {test for test, _ in there - ran} == set(), "never run as they are written somewhere"
