"""Check the prose of the documentation against the rules in `tools/prose.toml`.

proselint checks the words; the length of sentences is a check of ours in its form. Only prose is read, from Markdown:
paragraphs, list items, headings, cells of tables and alternative texts, without code. The pages of a project are
rendered with several sets of answers.

    python tools/prose.py [PATH ...]
"""

import difflib
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from cookiecutter.generate import generate_context
from cookiecutter.prompt import prompt_for_config
from cookiecutter.utils import create_env_with_context
from markdown_it import MarkdownIt
from markdown_it.token import Token
from proselint.checks import __register__ as own_checks
from proselint.registry import CheckRegistry
from proselint.registry.checks import Check, CheckResult, types

ROOT = Path(__file__).resolve().parents[1]
RULES = ROOT / "tools" / "prose.toml"
TEMPLATE = "{{cookiecutter.project_slug}}"
CODE = "\N{SECTION SIGN}"
"""What stands for a piece of code: a word that no rule is about."""
END = re.compile(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)[\"')]*\s+")
"""Where a sentence ends."""

NAMES = re.compile(rf"{CODE}(?:,?\s+(?:and\s+)?{CODE})+")
"""A list of pieces of code, which counts as one word."""


class Block(NamedTuple):
    """A piece of prose."""

    kind: str
    """`sentence`, `cell`, `heading` or `picture`."""
    line: int
    """Its first line, from 1."""
    text: str


def blocks(markdown: str) -> Iterator[Block]:
    """Yield the prose of a page, in its order."""
    parser = MarkdownIt("commonmark").enable("table")
    kind, line = "sentence", 0
    for token in parser.parse(markdown):
        if token.map:
            line = token.map[0] + 1
        if token.type in ("th_open", "td_open"):
            kind = "cell"
        elif token.type == "heading_open":
            kind = "heading"
        elif token.type.endswith("_open"):
            kind = "sentence"
        elif token.type == "inline":
            yield Block(kind, line, prose(token))
            for part in token.children or ():
                alternatives = [part.content] if part.type == "image" else []
                if part.type == "html_inline":
                    alternatives = re.findall(r'alt="([^"]*)"', part.content)
                yield from (Block("picture", line, text) for text in alternatives)


def prose(token: Token) -> str:
    """Return the text of a piece of Markdown, with its line breaks."""
    parts = []
    for part in token.children or ():
        match part.type:
            case "text":
                parts.append(part.content)
            case "code_inline":
                parts.append(CODE)
            case "softbreak" | "hardbreak":
                parts.append("\n")
    return "".join(parts)


def too_long(kind: str, limit: int, text: str, check: Check) -> Iterator[CheckResult]:
    """Yield the sentences that have more words than the limit, or the cell."""
    start = 0
    ends = [] if kind == "cell" else [found.start() for found in END.finditer(text)]
    for end in [*ends, len(text)]:
        sentence = text[start:end].strip()
        words = [word for word in NAMES.sub(CODE, sentence).split() if re.search(rf"\w|{CODE}", word)]
        if len(words) > limit:
            at = text.index(sentence, start)
            message = f"{len(words)} words in a {kind}, of at most {limit}: {' '.join(words[:6])} …"
            yield CheckResult(check.path, message, (at, end), None)
        start = end


class Rules:
    """The rules of a file."""

    def __init__(self, text: str) -> None:
        self.table: dict[str, Any] = tomllib.loads(text)
        words = {pattern.replace(" ", r"\s+"): instead for pattern, instead in self.table["words"].items()}
        ours = Check(types.PreferredForms(words), path="words", message="'{1}': write '{0}'")
        known = CheckRegistry()
        if not known.checks:
            known.register_many(own_checks)
        theirs = known.get_all_enabled(dict.fromkeys(self.table["proselint"]["checks"], True))
        self.words = [ours, *theirs]
        self.known: dict[tuple[str, str], list[tuple[int, str]]] = {}
        limits = self.table["limits"]
        self.lengths = {
            "sentence": Check(partial(too_long, "sentence", limits["sentence"]), path="limits.sentence"),
            "cell": Check(partial(too_long, "cell", limits["cell"]), path="limits.cell"),
            "sentence in a cell": Check(partial(too_long, "sentence", limits["cell"]), path="limits.cell"),
        }

    def faults(self, markdown: str, several: bool = False) -> Iterator[tuple[int, str]]:
        """Yield what a page has against the rules: the line, and a message. Its cells may have several sentences."""
        for block in blocks(markdown):
            kind = "sentence in a cell" if several and block.kind == "cell" else block.kind
            for at, message in self.found(kind, block.text):
                yield block.line + block.text.count("\n", 0, at), message

    def found(self, kind: str, text: str) -> list[tuple[int, str]]:
        """Return the faults of a block: their position, and a message. The variants of a page have most in common."""
        if (kind, text) not in self.known:
            kept = any(beginning in text for beginning in self.table["files"]["kept"])
            checks = [*self.words, *([self.lengths[kind]] if kind in self.lengths and not kept else [])]
            # Some patterns look for what is around a word.
            results = [result for check in checks for result in check.check_with_flags(f" {text} ")]
            self.known[kind, text] = [
                (max(result.span[0] - 1, 0), " ".join(result.message.split())) for result in results
            ]
        return self.known[kind, text]

    def several(self) -> set[Path]:
        """Return the pages whose cells may have several sentences."""
        names = self.table["files"]["sentences_in_cells"]
        return {folder / name for folder in (ROOT, ROOT / TEMPLATE) for name in names}

    def pages(self) -> Iterator[tuple[Path, str, str]]:
        """Yield the pages: the path, the answers that it is rendered with, the text."""
        for pattern in self.table["files"]["paths"]:
            for path in sorted(ROOT.glob(pattern)):
                yield path, "", path.read_text(encoding="utf-8")
        for answers in self.table["answers"]:
            names = " ".join(f"{prompt}={answer}" for prompt, answer in answers.items()) or "defaults"
            context = generate_context(str(ROOT / "cookiecutter.json"), extra_context=answers)
            context["cookiecutter"] = prompt_for_config(context, no_input=True)
            environment = create_env_with_context(context)
            for pattern in self.table["files"]["project"]:
                for path in sorted((ROOT / TEMPLATE).glob(pattern)):
                    yield path, names, environment.from_string(path.read_text(encoding="utf-8")).render(**context)


def line_of(line: int, rendered: str, template: str) -> int:
    """Return the line of a template that a line of what it renders to is from, as near as their texts tell."""
    lines = rendered.splitlines(), template.splitlines()
    matcher = difflib.SequenceMatcher(None, *lines, autojunk=False)
    for kind, start, end, first, last in matcher.get_opcodes():
        if start < line <= end:
            if kind == "equal":
                return first + line - start
            words = set(lines[0][line - 1].split())
            # Of the lines that differ there, the one that has most of its words.
            return max(range(first, last), key=lambda at: len(words & set(lines[1][at].split())), default=first) + 1
    return len(lines[1])


def main(arguments: list[str]) -> int:
    """Print each fault once, as `path:line: message`; return 1 if there are any."""
    rules = Rules(RULES.read_text(encoding="utf-8"))
    if arguments:
        pages = ((Path(path).resolve(), "", Path(path).read_text(encoding="utf-8")) for path in arguments)
    else:
        pages = rules.pages()
    said: set[tuple[Path, str]] = set()
    several = rules.several()
    for path, answers, text in pages:
        for line, message in rules.faults(text, path in several):
            if (path, message) in said:
                continue
            said.add((path, message))
            place = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
            if answers:
                print(f"{place}:{line_of(line, text, path.read_text(encoding='utf-8'))}: {message} ({answers})")
            else:
                print(f"{place}:{line}: {message}")
    return bool(said)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
