"""Ask the template's prompts, check each answer at once, show the project, then let Cookiecutter make it.

Prompts come from `cookiecutter.json`, rules from the pre-generation hook. Nothing is made before you say yes.
"""

import argparse
import difflib
import logging
import os
import re
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import fill
from types import ModuleType
from typing import Any

import questionary
from cookiecutter.config import get_user_config
from cookiecutter.exceptions import CookiecutterException, FailedHookException, OutputDirExistsException
from cookiecutter.generate import generate_context
from cookiecutter.main import cookiecutter
from cookiecutter.prompt import render_variable
from cookiecutter.utils import create_env_with_context
from jinja2 import TemplateError
from rich.console import Console
from rich.markdown import Markdown
from rich.tree import Tree

Answers = dict[str, str]
# A wheel has the template beside this module, a clone two folders up. Cookiecutter names replay files after the folder.
BUNDLED = Path(__file__).with_name("cookiecutter-prefect-durable")
TEMPLATE = BUNDLED if BUNDLED.exists() else Path(__file__).resolve().parents[2]
STYLE = questionary.Style([("answer", "fg:ansicyan"), ("highlighted", "bold"), ("disabled", "fg:ansibrightblack")])
CONSOLE = Console(highlight=False)


class UsageError(Exception):
    """Report something given by the user that cannot work; the message says what to do."""


class Form:
    """Answer the template's prompts, and make the project in the folder `output`."""

    def __init__(self, output: Path) -> None:
        self.output = output
        if not isinstance(defaults := get_user_config()["default_context"] or {}, dict):
            raise UsageError("default_context in your Cookiecutter configuration must map names to answers")
        context = generate_context(str(TEMPLATE / "cookiecutter.json"), defaults)
        self.environment = create_env_with_context(context)
        self.labels: dict[str, Any] = context["cookiecutter"]["__prompts__"]
        self.prompts = {name: raw for name, raw in context["cookiecutter"].items() if name[0] != "_"}
        self.hook = ModuleType("pre_gen_project")
        source = (TEMPLATE / "hooks/pre_gen_project.py").read_text(encoding="utf-8")
        exec(self.environment.from_string(source).render(**context), vars(self.hook))

    def check(self, given: Answers) -> None:
        """Raise `UsageError` for unknown names and answers, and for a folder that cannot be made."""
        for name, answer in given.items():
            if name not in self.prompts:
                [near] = difflib.get_close_matches(name, self.prompts, 1, cutoff=0)
                raise UsageError(f"unknown name {name!r}: did you mean {near}?")
            if isinstance(known := self.prompts[name], list) and answer not in known:
                raise UsageError(f"unknown answer {name}={answer}: choose one of {', '.join(known)}")
        if reasons := self.folder_reasons(given.get("project_slug", "")):
            raise UsageError(reasons[0])

    def folder_reasons(self, slug: str) -> list[str]:
        if slug and os.path.lexists(self.output / slug):
            return [f"{self.output / slug} exists: choose another project_slug or --output-dir"]
        parent = next(path for path in (self.output.resolve() / "project").parents if path.exists())
        writable = parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)
        return [] if writable else [f"no folder can be made in {parent}: choose another --output-dir"]

    def answer(self, given: Answers, ask: bool) -> Answers:
        """Return an answer to each prompt; note in `given` the answers that differ from the defaults."""
        answers: Answers = {}
        for number, (name, raw) in enumerate(self.prompts.items(), 1):
            default = render_variable(self.environment, raw[0] if isinstance(raw, list) else raw, answers)
            answer = given.pop(name, default)
            if ask:
                label = self.labels.get(name, name)
                text = f"[{number}/{len(self.prompts)}] {label if isinstance(label, str) else label['__prompt__']}:"
                answer = (self.choose if isinstance(raw, list) else self.type_in)(text, name, answer, answers)
            answers[name] = answer
            given |= {name: answer} if answer != default else {}
        return answers

    def choose(self, text: str, name: str, default: str, answers: Answers) -> str:
        choices = []
        for answer in self.prompts[name]:
            reasons, _ = self.hook.refusals({**answers, name: answer})
            # The first clause says why; the others, which answers to choose instead.
            title = self.labels[name].get(answer, answer) + (f" ({reasons[0].partition(':')[0]})" if reasons else "")
            title = fill(title, CONSOLE.width - 6, subsequent_indent=" " * 5)
            choices.append(questionary.Choice(title, answer, disabled=bool(reasons)))
        first = default if default in [choice.value for choice in choices if not choice.disabled] else None
        answer = questionary.select(text, choices, first, style=STYLE, erase_when_done=True).unsafe_ask()
        questionary.print(f"? {text} {answer}")
        return answer

    def type_in(self, text: str, name: str, default: str, answers: Answers) -> str:
        while True:
            answer = questionary.text(text, default, style=STYLE).unsafe_ask().strip()
            reasons, better = self.hook.refusals({**answers, name: answer})
            reasons = reasons or self.folder_reasons(answer if name == "project_slug" else "")
            if not reasons:
                return answer
            CONSOLE.print(*reasons, sep="\n", style="red", markup=False)
            default = better[name]

    def make(self, answers: Answers, output: Path, **more: Any) -> Path:
        """Have Cookiecutter make the project; leave nothing if it fails or is stopped."""
        given = {name: self.hook.quoted(answer) for name, answer in answers.items()}
        try:
            return Path(cookiecutter(str(TEMPLATE), no_input=True, extra_context=given, output_dir=str(output), **more))
        except (Exception, KeyboardInterrupt) as error:
            if not isinstance(error, OutputDirExistsException):
                shutil.rmtree(output / answers["project_slug"], ignore_errors=True)
            raise

    def show(self, answers: Answers) -> None:
        """Print the files of the project that these answers make, and its guarantees."""
        with TemporaryDirectory() as folder, open(os.devnull, "wb") as nowhere:
            kept = os.dup(1)
            os.dup2(nowhere.fileno(), 1)  # the hook would print that a project was made
            try:
                project = self.make(answers, Path(folder), default_config={"replay_dir": folder})
            finally:
                os.dup2(kept, 1)
                os.close(kept)
            tree = grow(Tree(f"\n{self.output / project.name}/"), project)
            table = re.findall(r"(?m)^## What survives what\n+(?:\|.*\n)+", (project / "README.md").read_text("utf-8"))
        # The links lead to tests, which are not there yet.
        text = re.sub(r" \[`\w+`\]\(\S+\)", "", "".join(table))
        CONSOLE.print(tree, "", Markdown(text), sep="\n")


def grow(tree: Tree, folder: Path, levels: int = 2) -> Tree:
    """Return the tree with the folders in `folder`, the number of their files, and the names of its own files."""
    for inner in sorted(path for path in folder.iterdir() if levels and path.is_dir()):
        path, count = inner, sum(file.is_file() for file in inner.rglob("*"))
        while len(inside := list(path.iterdir())) == 1 and inside[0].is_dir():
            [path] = inside
        branch = tree.add(f"{path.relative_to(folder).as_posix()}/ [dim]{count} file{'s' * (count > 1)}[/]")
        grow(branch, path, levels - 1)
    if levels > 1:
        tree.add(", ".join(sorted(path.name for path in folder.iterdir() if path.is_file())))
    return tree


def run(options: argparse.Namespace) -> int:
    form = Form(options.output_dir)
    if wrong := [text for text in options.answers if "=" not in text]:
        raise UsageError(f"{wrong[0]!r} is not name=answer")
    given = dict(text.split("=", 1) for text in options.answers)
    form.check(given)
    if options.no_input:
        answers = form.answer(given, ask=False)
        if (refused := form.hook.refusals(answers))[0]:
            raise UsageError(form.hook.explanation(*refused, "durable-project"))
    elif not sys.stdin.isatty() or not sys.stdout.isatty():
        raise UsageError("the prompts need a terminal: use --no-input and name=answer")
    else:
        verdict = "change"
        while verdict == "change":
            answers = form.answer(given, ask=True)
            form.show(answers)
            verdict = questionary.select("Make this project?", ["yes", "no", "change"], style=STYLE).unsafe_ask()
        if verdict == "no":
            print("No project was made.")
            return 1
    form.check(answers)
    form.make(answers, form.output)
    return 0


def main() -> int:
    """Run the command; return 0, or 1 without a project, 2 for a mistake of the user, 130 for Ctrl-C."""
    parser = argparse.ArgumentParser("durable-project", description="Make a Prefect project that survives crashes.")
    parser.add_argument("answers", nargs="*", metavar="name=answer", help="answer to a prompt, taken as it is")
    parser.add_argument("-o", "--output-dir", type=Path, default=Path(), help="where the project's folder is made")
    parser.add_argument("--no-input", action="store_true", help="do not ask: use defaults for what is not given")
    logging.getLogger("cookiecutter").setLevel(logging.CRITICAL)  # it logs tracebacks of errors reported here
    try:
        return run(parser.parse_intermixed_args())
    except UsageError as error:
        code, message = 2, str(error)
    except (KeyboardInterrupt, EOFError):
        code, message = 130, "Stopped: no project was made."
    except FailedHookException:
        return 1  # the hook has said why
    except (CookiecutterException, TemplateError, OSError) as error:
        code, message = 1, f"No project was made: {' '.join(str(error).split())}"
    print(message, file=sys.stderr)
    return code
