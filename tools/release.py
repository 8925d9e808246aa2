"""Release a version: its number heads the changelog's entries, and `versions.json` gets its commit and its prompts.

The commit is the one that is checked out: what is committed afterwards names the version and changes no project. The
prompts, answers and refused combinations are kept beside it, so that tests can tell what no later version may drop.
"""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CHANGELOG = ROOT / "CHANGELOG.md"
PYPROJECT = ROOT / "pyproject.toml"
VERSIONS = ROOT / "tools" / "versions.json"


def main(version: str) -> None:
    versions = json.loads(VERSIONS.read_text(encoding="utf-8"))
    changelog = CHANGELOG.read_text(encoding="utf-8")
    number = re.fullmatch(r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)", version)
    if not number or any(tuple(map(int, known.split("."))) >= tuple(map(int, number.groups())) for known in versions):
        sys.exit(f"say a version such as 1.2.0, later than {list(versions)[-1]}: make release VERSION=…")
    if git("status", "--porcelain"):
        sys.exit("commit first: what is released is a commit")
    if not re.search(r"^## Unreleased\n\n(?!#)\S", changelog, re.MULTILINE):
        sys.exit("CHANGELOG.md has nothing under Unreleased")
    prompts = (ROOT / "cookiecutter.json").read_text(encoding="utf-8")
    hook = (ROOT / "hooks" / "pre_gen_project.py").read_text(encoding="utf-8")
    versions[version] = {"commit": git("rev-parse", "HEAD"), **contract(prompts, hook)}
    VERSIONS.write_text(text_of(versions), encoding="utf-8")
    CHANGELOG.write_text(changelog.replace("\n## Unreleased\n", f"\n## {version}\n"), encoding="utf-8")
    project = re.sub(r'^version = ".*"$', f'version = "{version}"', PYPROJECT.read_text(encoding="utf-8"), flags=re.M)
    PYPROJECT.write_text(project, encoding="utf-8")
    print(f"Commit this, and tag it:\n  git commit -am 'Version {version}' && git tag {version}")


def contract(prompts: str, hook: str) -> dict[str, Any]:
    """Return what projects may have answered: what the prompts take, and the combinations that were refused.

    Args:
        prompts: the text of cookiecutter.json.
        hook: the text of hooks/pre_gen_project.py, with its table REFUSED.
    """
    answers = {prompt: answer for prompt, answer in json.loads(prompts).items() if not prompt.startswith("_")}
    (table,) = [
        node.value
        for node in ast.parse(hook).body
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["REFUSED"]
    ]
    return {
        "text": [prompt for prompt, answer in answers.items() if not isinstance(answer, list)],
        "choices": {prompt: answer for prompt, answer in answers.items() if isinstance(answer, list)},
        "refused": [combination for combination, *_ in ast.literal_eval(table)],
    }


def text_of(versions: dict[str, Any]) -> str:
    """Return them as JSON, each list on a line."""
    lists = re.compile(r"\[[^][{}]*\]")
    return lists.sub(lambda found: json.dumps(json.loads(found[0])), json.dumps(versions, indent=2)) + "\n"


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) == 2 else "")
