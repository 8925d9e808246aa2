"""What is said at the end of tests about whole projects, and two pages of the documentation that keep it."""

import os
import platform
import subprocess
from collections import Counter
from datetime import date
from importlib import metadata
from typing import Any

import pytest
from docs_reference import table
from variants import ALL, ROOT, hook

PYTHONS = """\
# Whole projects and their tests

Each project was generated, and installed into an empty home with the newest packages that its bounds allow.
Then its own `make setup flow run test NAME=orders FLOW=load-orders` ran, on real servers and clusters.
`make report` wrote this on {date}, at commit {commit}.

{table}
"""
VARIANTS = """\
# Variants and their own tests

{what}
`REPORT=docs/proof.md {command}` wrote this on {date}, at commit {commit}.
Python was {python}, Prefect {prefect}.

{table}

## Combinations that are refused

{refused}
"""
PROOFS = {
    True: (
        "Every two answers that a project can have occur in these variants.\n"
        "Each ran all of its own tests, on real servers, kills and outages included.",
        "make test-all",
    ),
    False: (
        "Every answer occurs in these variants. Each ran its fast tests, and slow ones of half of its files or more.\n"
        "Those of one or two answers ran what the others lack. Dask and Ray ran what starts them, and kills on them.",
        "make test SAMPLE=all",
    ),
}


def summarize(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how the whole projects did that ran; in the environment, REPORT names the page that keeps it."""
    kinds = ("passed", "failed", "skipped")
    found = [report for kind in kinds for report in terminalreporter.stats.get(kind, [])]
    properties = [{**dict(report.user_properties), "outcome": report.outcome} for report in found]
    variants(terminalreporter, [each for each in properties if "variant" in each])
    pythons(terminalreporter, [each["row"] for each in properties if "row" in each])


def pythons(terminal: pytest.TerminalReporter, rows: list[list[str]]) -> None:
    """Print a table of the projects that ran their own tests on several Pythons."""
    if rows:
        terminal.section("whole projects on several Pythons")
        heads = ["variant", "Python", "Prefect", "make setup flow run test", "passed", "skipped", "seconds"]
        write(PYTHONS, table=say(terminal, table(heads, sorted(rows))))


def variants(terminal: pytest.TerminalReporter, runs: list[dict[str, Any]]) -> None:
    """Print how many of each variant's own tests ran, which were skipped and why, and how a failed variant is baked."""
    if not runs:
        return
    terminal.section("variants and their own tests")
    rows = []
    for variant in dict.fromkeys(run["variant"] for run in runs):
        its = [{"ran": 0, "skips": [], "seconds": 0.0, **run} for run in runs if run["variant"] == variant]
        skips = Counter(skip for run in its for skip in run["skips"])
        failed = any(run["outcome"] == "failed" for run in its)
        why = " ".join(f"{skip.removesuffix('.')} ({number})." for skip, number in sorted(skips.items()))
        ran, seconds = sum(run["ran"] for run in its), sum(run["seconds"] for run in its)
        rows.append([variant, "failed" if failed else "passed", str(ran), why, f"{seconds:.0f}"])
    lines = say(terminal, table(["variant", "its tests", "ran", "skipped", "seconds"], rows))
    for run in runs:
        if run["outcome"] == "failed":
            terminal.line(f"failed; this bakes it again: {run['command']}")
    refused = [
        [" ".join(f"{prompt}={answer}" for prompt, answer in answers.items()), reason.replace(": choose", ". Choose")]
        for answers, reason, _ in hook("pre_gen_project").REFUSED
    ]
    what, command = PROOFS[ALL]
    write(
        VARIANTS,
        what=what,
        command=command,
        python=platform.python_version(),
        prefect=metadata.version("prefect"),
        table=lines,
        refused="\n".join(table(["answers", "why, and what to choose"], refused)[:-1]),
    )


def say(terminal: pytest.TerminalReporter, lines: list[str]) -> str:
    """Print a table, and return it as a text."""
    for line in lines[:-1]:
        terminal.line(line)
    return "\n".join(lines[:-1])


def write(page: str, **parts: str) -> None:
    """Write the page that REPORT names, if it names one and this is no part of the tests."""
    part = os.environ.get("SHARD") or os.environ.get("SAMPLE", "all") != "all"
    if (report := os.environ.get("REPORT")) and not part:
        git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=, with changes"]
        commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
        (ROOT / report).write_text(page.format(date=date.today(), commit=commit, **parts), encoding="utf-8")
