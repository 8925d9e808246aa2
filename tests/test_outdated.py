"""What is pinned is raised to what there is, and what there is not is said."""

import os
import re
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import outdated
import pytest
from history import git
from packaging.version import Version
from pythons import ends
from variants import Answers, spread

OLD = "1" * 40
STEP = f"      - uses: actions/checkout@{OLD} # v6.1.0\n        with:\n"


@pytest.fixture
def tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The tags of an action, which git asks instead of GitHub; return the commit of the newest version."""
    action = tmp_path / "actions" / "checkout"
    action.mkdir(parents=True)
    git(action, "init", "--quiet")
    for name in ("v6.1.0", "v6.9.0", "v6.10.0", "v6.10.1-beta", "v6", "latest"):
        git(action, "commit", "--quiet", "--allow-empty", f"--message={name}")
        git(action, "tag", *(["--annotate", "--message=it"] if name == "v6.10.0" else []), name)
    for name, value in {"COUNT": "1", "KEY_0": f"url.{tmp_path}/.insteadOf", "VALUE_0": "https://github.com/"}.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    return git(action, "rev-parse", "v6.10.0^{commit}").strip()


def test_an_action_is_raised_to_the_commit_of_its_newest_version(tag: str) -> None:
    raised = outdated.ACTION.sub(outdated.newest_action, STEP)
    assert raised == f"      - uses: actions/checkout@{tag} # v6.10.0\n        with:\n"
    assert outdated.ACTION.sub(outdated.newest_action, raised) == raised


def test_an_action_of_which_nothing_is_known_stays(tag: str, capsys: pytest.CaptureFixture[str]) -> None:
    step = STEP.replace("checkout", "gone")
    assert outdated.ACTION.sub(outdated.newest_action, step) == step
    assert "actions/gone: its versions cannot be asked for; 6.1.0 stays" in capsys.readouterr().err


def test_every_use_of_an_action_is_known() -> None:
    for workflow in outdated.WORKFLOWS:
        text = workflow.read_text(encoding="utf-8")
        assert len(outdated.ACTION.findall(text)) == text.count("uses: ") > 0


def test_exact_versions_are_read() -> None:
    text = (
        "numpy==2.1 ; python_full_version < '3.12'\nnumpy==2.4 ; python_full_version >= '3.12'\npsycopg[binary]==3.3\n"
    )
    assert outdated.pins(text) == {"numpy": "2.1, 2.4", "psycopg": "3.3"}


def test_exact_versions_of_the_documentation_are_raised() -> None:
    text = outdated.PROJECT.read_text(encoding="utf-8")
    found = {f"{name}=={version}" for name, version in outdated.EXACT.findall(text)}
    assert found >= set(tomllib.loads(text)["dependency-groups"]["docs"])


def test_what_is_asked_for_is_what_is_pinned() -> None:
    assert outdated.requirements().keys() <= outdated.pins(outdated.REQUIREMENTS.read_text(encoding="utf-8")).keys()


# Pins of today

WATCHED = re.compile(r"prefect(-.+)?|sqlalchemy|duckdb|dask|distributed|ray|cloudpickle")
"""Packages whose newer versions have broken projects before."""
EACH_VERSION = ("cloudpickle",)
"""Of these any newer version counts; of the others a newer major or minor one."""
UNREACHABLE = re.compile("failed to fetch|error sending request|request failed|network was disabled", re.IGNORECASE)
"""What uv says where no registry answers."""
UNKNOWN = "the package registry cannot be reached, so nobody knows whether the pins are of today"
RESOLVE_TIMEOUT = 60.0
"""Seconds."""


def moved(pinned: dict[str, str], fresh: dict[str, str]) -> list[str]:
    """Return how versions that a new project gets are past those that the tests run with.

    Args:
        pinned: versions by package, as `outdated.pins` returns them; the newest of several counts.
        fresh: the same of a new project.
    """
    found = []
    for name, text in sorted(fresh.items()):
        if not WATCHED.fullmatch(name):
            continue
        new = max(map(Version, text.split(", ")))
        if name not in pinned:
            found.append(f"{name} {new} is what a new project gets, and it is not in requirements.txt: make pins")
            continue
        old = max(map(Version, pinned[name].split(", ")))
        if new > old if name in EACH_VERSION else (new.major, new.minor) > (old.major, old.minor):
            found.append(f"{name} {new} is what a new project gets, requirements.txt has {old}: make pins")
    return found


@pytest.fixture(scope="module")
def fresh(baked: Callable[[Answers], Path], uv: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What projects of all answers resolve to today, on the lowest and on the newest Python."""
    projects = [tomllib.loads((baked(variant) / "pyproject.toml").read_text(encoding="utf-8")) for variant in spread()]
    asked = {text for project in projects for text in project["project"]["dependencies"]}
    asked |= {text for project in projects for text in project["dependency-groups"]["dev"]}
    cache = tmp_path_factory.mktemp("uv")
    found = ""
    for version in ends(projects[0]["project"]["requires-python"]):
        options = [f"--cache-dir={cache}", f"--python-version={version}", "--no-header", "--no-annotate"]
        try:
            done = subprocess.run(
                [uv, "pip", "compile", "--quiet", "--no-python-downloads", *options, "-"],
                input="\n".join(sorted(asked)),
                env={**os.environ, "UV_HTTP_RETRIES": "1", "UV_HTTP_TIMEOUT": "15"},
                capture_output=True,
                text=True,
                check=False,
                timeout=RESOLVE_TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"{UNKNOWN}: no answer in {RESOLVE_TIMEOUT:.0f} s")
        if done.returncode and UNREACHABLE.search(done.stderr):
            pytest.skip(UNKNOWN)
        assert done.returncode == 0, done.stderr
        found += done.stdout
    return outdated.pins(found)


def test_pins_are_of_today(fresh: dict[str, str]) -> None:
    assert {"prefect", "prefect-aws", "prefect-ray", "sqlalchemy", "duckdb", "dask", "ray", "cloudpickle"} <= {*fresh}
    faults = moved(outdated.pins(outdated.REQUIREMENTS.read_text(encoding="utf-8")), fresh)
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("name", "pinned", "fresh"),
    [
        ("prefect", "3.9.1", "3.10.0"),
        ("prefect", "3.9.1", "4.0.0"),
        ("prefect", "3.9.1", "3.9.1, 3.10.0"),
        ("prefect-aws", "0.7.12", "0.8.0"),
        ("sqlalchemy", "2.1.9", "2.2.0"),
        ("duckdb", "1.5.6", "1.6.0"),
        ("dask", "2026.8.0", "2026.10.0"),
        ("distributed", "2026.8.0", "2027.1.0"),
        ("ray", "2.60.0", "2.61.0"),
        ("cloudpickle", "3.1.3", "3.1.4"),
        ("cloudpickle", "3.1.9", "3.1.10"),
    ],
)
def test_a_version_past_its_pin_is_named(name: str, pinned: str, fresh: str) -> None:
    newest = fresh.rpartition(", ")[2]
    assert moved({name: pinned}, {name: fresh}) == [
        f"{name} {newest} is what a new project gets, requirements.txt has {pinned}: make pins"
    ]


@pytest.mark.parametrize(
    ("name", "pinned", "fresh"),
    [
        ("prefect", "3.9.1", "3.9.1"),
        ("prefect", "3.9.1", "3.9.14"),
        ("prefect", "3.10.0", "3.9.1"),
        ("prefect", "3.8.8, 3.9.1", "3.9.2"),
        ("dask", "2026.8.0", "2026.8.1"),
        ("cloudpickle", "3.1.3", "3.1.3"),
        ("cloudpickle", "3.1.3", "3.1.2"),
        ("prefectionist", "1.0", "2.0"),
        ("duckdb-engine", "0.17.0", "0.18.0"),
        ("rich", "15.0.0", "16.0.0"),
    ],
)
def test_a_version_of_its_pin_and_other_packages_are_fine(name: str, pinned: str, fresh: str) -> None:
    assert moved({name: pinned}, {name: fresh}) == []


def test_a_package_that_is_not_pinned_is_named() -> None:
    assert moved({}, {"prefect-redis": "0.2.0"}) == [
        "prefect-redis 0.2.0 is what a new project gets, and it is not in requirements.txt: make pins"
    ]
