"""Reference pages of the documentation site, derived from the template at each build.

Prompts come from `cookiecutter.json` and the hook's table of refusals, settings from `.env.example`, commands from the
Makefile, exit codes from the docstring of `cli.py`, verbs from the stub of `durable`.
"""

import ast
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "{{cookiecutter.project_slug}}"
CONFIG: dict[str, Any] = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
CHOICES: dict[str, list[str]] = {
    prompt: CONFIG[prompt] for prompt in CONFIG["__prompts__"] if isinstance(CONFIG[prompt], list)
}
NAMES = {"project_slug": "durable-flights", "package_name": "durable_flights"}
"""Of the project that the pages show: it has the default answers."""

Entry = tuple[str, ...]
"""A row of a table, a name first."""


def pages(project: Path) -> dict[str, str]:
    """Return the text of each page, by its path on the site."""
    return {
        "reference/prompts.md": prompts(),
        "reference/settings.md": settings(),
        "reference/commands.md": commands(project),
        "reference/verbs.md": verbs(project),
    }


def prompts() -> str:
    hook = ast.parse((ROOT / "hooks" / "pre_gen_project.py").read_text(encoding="utf-8"))
    (refused,) = (node.value for node in hook.body if ast.unparse(node).startswith("REFUSED ="))
    lines = ["# Prompts and answers", "", "Cookiecutter asks these prompts. See [Choose answers](../choices.md).", ""]
    for prompt, label in CONFIG["__prompts__"].items():
        if prompt in CHOICES:
            lines += [f"## `{prompt}`", "", f"{label['__prompt__']}. The first answer is the default.", ""]
            rows = [[f"`{answer}`", text_of(label, answer)] for answer in CHOICES[prompt]]
            lines += table(["answer", "what it is"], rows)
        else:
            default = f"`{CONFIG[prompt]}`" if CONFIG[prompt] else "empty"
            if "{" in CONFIG[prompt]:
                default = "made of the answers before"
            lines += [f"## `{prompt}`", "", f"{label}. Default: {default}.", ""]
    lines += ["## Refused combinations", "", "The template refuses these answers, and says what to choose instead.", ""]
    rows = [
        [" with ".join(f"`{prompt}={answer}`" for prompt, answer in answers.items()), reason]
        for answers, reason, _ in ast.literal_eval(refused)
    ]
    return "\n".join(lines + table(["answers", "reason"], rows))


def settings() -> str:
    def parse(text: str) -> list[tuple[str, str, str]]:
        found = re.findall(r"((?:^# .*\n)+)((?:^#\w+=.*\n)+)", text, re.MULTILINE)
        return [
            (*map("<br>".join, zip(*[variable(line) for line in lines.splitlines()], strict=True)), plain(comment))
            for comment, lines in found
        ]

    def variable(line: str) -> tuple[str, str]:
        name, _, default = line.removeprefix("#").partition("=")
        return f"`{name}`", f"`{default}`" if default else "empty"

    rows = everywhere(TEMPLATE / ".env.example", parse)
    return "\n".join(
        [
            "# Settings",
            "",
            "Set them in the environment, or in the file `.env` of the project. The environment comes first.",
            "`DURABLE_FLIGHTS` stands for the name of your package. Durations are ISO 8601: `PT1S`, `P30D`.",
            "",
            *table(["setting", "default", "meaning", "with"], rows),
        ]
    )


def commands(project: Path) -> str:
    def parse(text: str) -> list[tuple[str, str]]:
        return [(f"`make {name}`", does) for name, does in re.findall(r"^([a-z-]+):.*?## (.*)$", text, re.MULTILINE)]

    (cli,) = project.glob("src/*/durable/cli.py")
    docstring = " ".join((ast.get_docstring(ast.parse(cli.read_text(encoding="utf-8"))) or "").split())
    codes = re.findall(r"(\d+), ([^;.]+)", docstring.partition("Exit codes: ")[2])
    rows = everywhere(TEMPLATE / "Makefile", parse)
    return "\n".join(
        [
            "# Commands and exit codes",
            "",
            "## Commands",
            "",
            "`make help` shows the commands of your project.",
            "",
            *table(["command", "what it does", "with"], rows),
            "## Exit codes",
            "",
            "`.venv/bin/python -m durable_flights …` ends with these. `make` itself ends with 2 after any error.",
            "",
            *table(["exit code", "meaning"], [list(code) for code in codes]),
        ]
    )


def verbs(project: Path) -> str:
    (stub,) = project.glob("src/*/durable/__init__.pyi")
    lines = ["# Public verbs", "", "Import these names from `durable`.", ""]
    for module, name in imports(stub):
        theirs = [where for where, other in imports(stub.with_name(f"{module}.py")) if other == name]
        whole = f"{stub.parts[-3]}.durable.{module}.{name}"
        lines += [f"## `{name}`", "", f"The class of `{theirs[0]}`.", ""] if theirs else [f"::: {whole}", ""]
    return "\n".join(lines)


def imports(path: Path) -> list[tuple[str, str]]:
    """Return the names that a module imports at once, each with where it is from."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    found = [node for node in body if isinstance(node, ast.ImportFrom)]
    return [(str(node.module), alias.name) for node in found for alias in node.names]


def text_of(label: dict[str, str], answer: str) -> str:
    """Return what the label of a prompt says of an answer."""
    return label[answer].removeprefix(f"{answer}: ")


def own_pages(project: Path) -> dict[str, Path]:
    """Return the pages that a project has for its owners, by their paths in it."""
    pages = (project / "README.md", *sorted((project / "docs").glob("*.md")))
    return {path.relative_to(project).as_posix(): path for path in pages}


def everywhere(path: Path, parse: Callable[[str], list[Entry]]) -> list[list[str]]:
    """Return the rows of what a template of a file has with any answers, with the answers that bring it at the end."""
    text = path.read_text(encoding="utf-8")
    named = [prompt for prompt in CHOICES if f"cookiecutter.{prompt}" in text]
    template = Environment(keep_trailing_newline=True, autoescape=False).from_string(text)
    found: dict[Entry, dict[str, set[str]]] = {}
    for answers in itertools.product(*(CHOICES[prompt] for prompt in named)):
        chosen = dict(zip(named, answers, strict=True))
        context = {prompt: choices[0] for prompt, choices in CHOICES.items()} | NAMES | chosen
        for entry in parse(template.render(cookiecutter=context)):
            having = found.setdefault(entry, {prompt: set() for prompt in named})
            for prompt, answer in chosen.items():
                having[prompt].add(answer)
    names = [name for name, *_ in found]
    ordered = sorted(found, key=lambda entry: names.index(entry[0]))
    return [[*entry, conditions(found[entry])] for entry in ordered]


def conditions(having: dict[str, set[str]]) -> str:
    texts = []
    for prompt, answers in having.items():
        absent = [answer for answer in CHOICES[prompt] if answer not in answers]
        if len(absent) == 1:
            texts.append(f"not `{prompt}={absent[0]}`")
        elif absent:
            texts.append(" or ".join(f"`{prompt}={answer}`" for answer in CHOICES[prompt] if answer in answers))
    return "; ".join(texts) or "all answers"


def plain(comment: str) -> str:
    return " ".join(line.removeprefix("# ") for line in comment.splitlines())


def table(heads: list[str], rows: list[list[str]]) -> list[str]:
    cells = [heads, ["---"] * len(heads), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return [*("| " + " | ".join(row) + " |" for row in cells), ""]
