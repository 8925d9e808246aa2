"""No released version is forgotten: each is noted with its commit, and what its projects answered is still taken."""

import copy
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import history
import pytest
from history import RELEASED, git
from release import contract
from variants import ROOT

Contract = dict[str, Any]

NOW: Contract = contract(
    (ROOT / "cookiecutter.json").read_text(encoding="utf-8"),
    (ROOT / "hooks" / "pre_gen_project.py").read_text(encoding="utf-8"),
)
each_version = pytest.mark.parametrize("version", RELEASED)


def broken(version: str, then: Contract, now: Contract) -> list[str]:
    """Return what projects of a version can no longer answer, with what to do about it."""
    faults = []
    for prompt in [*then["text"], *then["choices"]]:
        if prompt not in now["text"] and prompt not in now["choices"]:
            faults.append(
                f"the prompt {prompt} of {version} is gone: `cruft update` would drop what projects answered."
                " Put it back into cookiecutter.json under this name; its label may change"
            )
        elif (prompt in then["text"]) != (prompt in now["text"]):
            faults.append(
                f"the prompt {prompt} of {version} was {'free text' if prompt in then['text'] else 'a choice'}:"
                " what projects answered may not be taken now. Make a new prompt instead"
            )
    for prompt, answers in then["choices"].items():
        faults += [
            f"{prompt}={answer} of {version} is gone: `cruft update` would fail in each project that has it."
            " Put it back into cookiecutter.json under this name; its label may change"
            for answer in answers
            if answer not in now["choices"].get(prompt, [answer])
        ]
    for combination in now["refused"]:
        old = all(answer in then["choices"].get(prompt, []) for prompt, answer in combination.items())
        if old and not any(refused.items() <= combination.items() for refused in then["refused"]):
            answers = " ".join(f"{prompt}={answer}" for prompt, answer in combination.items())
            faults.append(
                f"{version} took {answers}, which REFUSED has now: `cruft update` would fail in each project that has"
                " it. Make it work, or warn in the project's README in place of refusing it"
            )
    return faults


@each_version
def test_what_a_version_took_is_still_taken(version: str) -> None:
    faults = broken(version, RELEASED[version], NOW)
    assert not faults, "\n".join(faults)


def changed(change: Callable[[Contract], object]) -> Contract:
    now = copy.deepcopy(RELEASED["0.1.0"])
    change(now)
    return now


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda now: now["text"].remove("author_email"), "prompt author_email of 0.1.0 is gone"),
        (lambda now: now["choices"].pop("ci"), "prompt ci of 0.1.0 is gone"),
        (lambda now: now["choices"].update(run=now["choices"].pop("task_runner")), "prompt task_runner of 0.1.0 is"),
        (lambda now: (now["choices"].pop("license"), now["text"].append("license")), "license of 0.1.0 was a choice"),
        (lambda now: (now["text"].remove("author_name"), now["choices"].update(author_name=["me"])), "was free text"),
        (lambda now: now["choices"]["license"].remove("MIT"), "license=MIT of 0.1.0 is gone"),
        (lambda now: now["choices"].update(upsert=["SQLite", "none"]), "upsert=sqlite of 0.1.0 is gone"),
        (lambda now: now["refused"].append({"cache_key": "none"}), "0.1.0 took cache_key=none, which REFUSED has"),
    ],
)
def test_what_breaks_updates_is_found(change: Callable[[Contract], object], fault: str) -> None:
    (found,) = broken("0.1.0", RELEASED["0.1.0"], changed(change))
    assert fault in found


@pytest.mark.parametrize(
    "change",
    [
        lambda now: None,
        lambda now: now["text"].append("team"),
        lambda now: now["choices"].update(colour=["red", "blue"]),
        lambda now: now["choices"]["upsert"].insert(0, "mysql"),
        lambda now: now["refused"].append({"upsert": "mysql", "checkpoint": "none"}),
        lambda now: now["refused"].append({"checkpoint": "database", "upsert": "none", "ci": "none"}),
    ],
)
def test_additions_are_fine(change: Callable[[Contract], object]) -> None:
    assert broken("0.1.0", RELEASED["0.1.0"], changed(change)) == []


# What is noted


def test_each_version_of_the_changelog_is_noted() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    versions = [heading for heading in headings if heading != "Unreleased"]
    assert versions == list(reversed(RELEASED)), "`make release VERSION=x.y.z` gives the changelog's entries a number"


def test_the_newest_version_is_the_templates() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == list(RELEASED)[-1]


@each_version
def test_a_version_is_noted_as_its_commit_has_it(version: str) -> None:
    if reason := history.missing(version):
        pytest.skip(reason)
    noted = RELEASED[version]
    assert history.run(ROOT, "merge-base", "--is-ancestor", noted["commit"], "HEAD").returncode == 0
    found = contract(history.text(version, "cookiecutter.json"), history.text(version, "hooks/pre_gen_project.py"))
    assert {"commit": noted["commit"], **found} == noted


# A release


@pytest.fixture
def checkout(repository: Path, tmp_path: Path) -> Path:
    git(tmp_path, "clone", "--quiet", str(repository), "template")
    return tmp_path / "template"


def release(checkout: Path, version: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "tools/release.py", version]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, env=history.ENVIRONMENT, check=False)


def test_a_release_is_noted(checkout: Path) -> None:
    head = git(checkout, "rev-parse", "HEAD").strip()
    changelog = checkout / "CHANGELOG.md"
    if "## Unreleased\n" not in changelog.read_text():
        changelog.write_text(changelog.read_text().replace("\n## ", "\n## Unreleased\n\n- More.\n\n## ", 1))
        git(checkout, "commit", "--quiet", "--all", "--message=more")
        head = git(checkout, "rev-parse", "HEAD").strip()
    before = changelog.read_text()
    done = release(checkout, "99.0.1")
    assert done.returncode == 0, done.stderr
    assert changelog.read_text() == before.replace("## Unreleased\n", "## 99.0.1\n")
    assert tomllib.loads((checkout / "pyproject.toml").read_text())["project"]["version"] == "99.0.1"
    noted = (checkout / "tools" / "versions.json").read_text()
    assert list(json.loads(noted)) == [*RELEASED, "99.0.1"]
    assert json.loads(noted)["99.0.1"] == {"commit": head, **NOW}
    assert git(checkout, "diff", "--stat").count("|") == 3


@pytest.mark.parametrize("version", ["", "1", "v9.0.0", "0.0.9", list(RELEASED)[-1]])
def test_a_version_that_is_none_or_not_later_is_refused(checkout: Path, version: str) -> None:
    done = release(checkout, version)
    assert done.returncode == 1
    assert "such as 1.2.0" in done.stderr
    assert git(checkout, "status", "--porcelain") == ""


def test_what_is_not_committed_is_not_released(checkout: Path) -> None:
    shutil.copy(checkout / "README.md", checkout / "new.md")
    done = release(checkout, "99.0.1")
    assert (done.returncode, "commit first" in done.stderr) == (1, True)
    assert git(checkout, "diff") == ""
