"""Write into the hook which names no project may have: those of what projects install.

`make pins` runs it, in the environment of the tests. Names of distributions and of their modules are refused alike.
"""

import importlib.metadata
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
HOOK = ROOT / "hooks" / "pre_gen_project.py"
PROJECT = ROOT / "{{cookiecutter.project_slug}}" / "pyproject.toml"
REQUIREMENT = re.compile(r'^    "([\w.-]+(?:\[.*?\])?)[<>=]', re.MULTILINE)
LIST = re.compile(r'(?<=DEPENDENCIES = set\(\n    """\n).*?(?=\n    """)', re.DOTALL)


def main() -> None:
    text = HOOK.read_text(encoding="utf-8")
    lines = textwrap.fill(" ".join(sorted(names())), 116, break_on_hyphens=False)
    HOOK.write_text(LIST.sub(textwrap.indent(lines, "    "), text, count=1), encoding="utf-8")


def names() -> set[str]:
    """Return the distributions that projects of any answers install, and their modules, with dashes."""
    found = installed(REQUIREMENT.findall(PROJECT.read_text(encoding="utf-8")))
    modules = {
        normalized(module)
        for module, distributions in importlib.metadata.packages_distributions().items()
        if found & set(map(normalized, distributions))
    }
    return found | {name for name in modules if re.fullmatch(r"[a-z][a-z0-9-]*(?<!-stubs)", name)}


def installed(requirements: Iterable[str]) -> set[str]:
    """Return the distributions that requirements lead to, on any Python and any system."""
    todo = {(normalized(need.name), *sorted(need.extras)) for need in map(Requirement, requirements)}
    seen: set[tuple[str, ...]] = set()
    while todo - seen:
        one = (todo - seen).pop()
        seen.add(one)
        name, *extras = one
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:  # of another system, or another Python
            continue
        for need in map(Requirement, needs):
            wanted = set(re.findall(r"extra == [\"'](.+?)[\"']", str(need.marker or "")))
            if not wanted or wanted & set(extras):
                todo.add((normalized(need.name), *sorted(need.extras)))
    return {name for name, *_ in seen}


def normalized(name: str) -> str:
    """Return a name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main()
