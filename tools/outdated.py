"""Raise what is pinned: the exact versions that the tests run with, and the actions of the workflows.

What the bounds keep out is said, and stays: a bound is raised by hand, in `pyproject.toml` and in the project's.

    python tools/outdated.py UV
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements.txt"
WORKFLOWS = (
    *sorted((ROOT / ".github/workflows").glob("*.yml")),
    ROOT / "{{cookiecutter.project_slug}}/ci/github/.github/workflows/ci.yml",
)
PROJECT = ROOT / "pyproject.toml"
EXACT = re.compile(r'"([\w-]+)==([\d.]+)"')
"""An exact version of what the documentation and the benchmarks need."""
ACTION = re.compile(r"uses: (?P<name>[\w.-]+/[\w.-]+)@(?P<commit>[0-9a-f]{40}) # v(?P<version>[\d.]+)")
COMPILE = ["--quiet", "--universal", "--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
TIMEOUT = 60.0
"""Seconds to ask for the tags of an action."""


def main(uv: str) -> None:
    before = pins(REQUIREMENTS.read_text(encoding="utf-8"))
    command = [uv, "pip", "compile", *COMPILE, "--upgrade", "--python-version", "3.11"]
    subprocess.run([*command, "--group", "dev", "--output-file", REQUIREMENTS], cwd=ROOT, check=True)
    after = pins(REQUIREMENTS.read_text(encoding="utf-8"))
    for name in sorted(before | after):
        if before.get(name) != after.get(name):
            print(f"{name}: {before.get(name, 'new')} -> {after.get(name, 'gone')}")

    def newest(names: Iterable[str]) -> dict[str, str]:
        asked = [*command, "-"]
        found = subprocess.run(asked, cwd=ROOT, input="\n".join(names), stdout=subprocess.PIPE, text=True, check=True)
        return pins(found.stdout)

    asked = requirements()
    for name, version in newest(asked).items():
        if name in asked and version != after[name]:
            print(f"{name}: {version} is kept out by {asked[name]}, or by what needs an older one")

    project = PROJECT.read_text(encoding="utf-8")
    exact = dict(EXACT.findall(project))
    known = newest(exact)
    for name, version in exact.items():
        if known[name] != version:
            print(f"{name} in pyproject.toml: {version} -> {known[name]}")
    PROJECT.write_text(EXACT.sub(lambda found: f'"{found[1]}=={known[found[1]]}"', project), encoding="utf-8")

    for workflow in WORKFLOWS:
        text = workflow.read_text(encoding="utf-8")
        raised = ACTION.sub(newest_action, text)
        if raised != text:
            workflow.write_text(raised, encoding="utf-8")


def pins(text: str) -> dict[str, str]:
    """Return the exact versions by package; several, for several Pythons, in one text."""
    found: dict[str, str] = {}
    for name, version in re.findall(r"^([\w.-]+)(?:\[.*\])?==([^\s;]+)", text, re.MULTILINE):
        found[name] = f"{found[name]}, {version}" if name in found else version
    return found


def requirements() -> dict[str, str]:
    """Return the requirements of the tests, each with its bounds, by package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return {re.split(r"[\[<>=!~; ]", text)[0].lower(): text for text in project["dependency-groups"]["dev"]}


def newest_action(used: re.Match[str]) -> str:
    """Return the same use of an action at its newest version; the version as it is, if nobody can be asked."""
    name, version = used["name"], used["version"]
    try:
        asked = subprocess.run(
            ["git", "ls-remote", "--tags", f"https://github.com/{name}"],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=True,
        )
    except subprocess.SubprocessError:
        print(f"{name}: its versions cannot be asked for; {version} stays", file=sys.stderr)
        return used[0]
    # Of a tag that is an object itself, the second line has the commit.
    tags = {
        tuple(map(int, tag.split("."))): commit
        for commit, tag in re.findall(r"^([0-9a-f]{40})\trefs/tags/v(\d+\.\d+\.\d+)(?:\^\{\})?$", asked.stdout, re.M)
    }
    newest = max(tags, default=())
    if newest <= tuple(map(int, version.split("."))):
        return used[0]
    number = ".".join(map(str, newest))
    print(f"{name}: {version} -> {number}")
    return f"uses: {name}@{tags[newest]} # v{number}"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("say which uv: outdated.py UV")
    main(sys.argv[1])
