"""The linter of the documentation's prose: it reads prose alone, and names file and line."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import prose
import pytest
from variants import ROOT

TEMPLATE = prose.TEMPLATE
RULES = prose.Rules((ROOT / "tools" / "prose.toml").read_text(encoding="utf-8"))
LONG = " ".join(["word"] * 21) + "."
AVOIDED = "The moment is kept."


def faults(markdown: str) -> list[tuple[int, str]]:
    return list(RULES.faults(markdown))


def messages(markdown: str) -> list[str]:
    return [message for _, message in faults(markdown)]


def test_documentation_keeps_the_rules() -> None:
    done = subprocess.run([sys.executable, "tools/prose.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("page", "line"),
    [
        ("docs/tutorial.md", "Some text.\n{}"),
        ("README.md", "| a | b |\n|---|---|\n| c | {} |"),
        (f"{TEMPLATE}/docs/writing.md", '{{%- if cookiecutter.upsert == "postgres" %}}\n\n{}\n{{%- endif %}}'),
    ],
)
def test_what_is_planted_is_found_with_file_and_line(page: str, line: str, tmp_path: Path) -> None:
    for part in ("tools", "docs", TEMPLATE):
        shutil.copytree(ROOT / part, tmp_path / part)
    for part in ("README.md", "CONTRIBUTING.md", "cookiecutter.json"):
        shutil.copy(ROOT / part, tmp_path)
    with (tmp_path / page).open("a", encoding="utf-8") as file:
        file.write(f"\n\n{line.format(f'{LONG} {AVOIDED}')}\n")
    lines = (tmp_path / page).read_text(encoding="utf-8").splitlines()
    (number,) = (number for number, text in enumerate(lines, 1) if LONG in text)
    # As the Makefile calls it.
    (command,) = re.findall(r"^\t@\$\(BIN\)/python (tools/prose\.py)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    done = subprocess.run([sys.executable, command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    word, length = done.stdout.splitlines()
    assert word.startswith(f"{page}:{number}: 'moment': write 'timestamp'")
    assert re.match(r"2[15] words in a (sentence|cell), of at most ", length.removeprefix(f"{page}:{number}: "))


@pytest.mark.parametrize(
    "markdown",
    [
        f"```text\n{LONG}\n{AVOIDED}\n```\n",
        f"    {LONG}\n",
        f"The command `{LONG} {AVOIDED}` is code.\n",
        f"# {LONG}\n",
        f"[A link](https://example.com/{'word-' * 30}).\n",
        "- " + "\n- ".join(["word"] * 21) + "\n",
        f"`{'`, `'.join(['name'] * 30)}` and `last` are names.\n",
        "word " * 19 + "end. " + "word " * 19 + "end.\n",
        "The *high-water mark* moves. It is not marked.\n",
    ],
)
def test_what_is_not_a_long_sentence_passes(markdown: str) -> None:
    assert faults(markdown) == []


@pytest.mark.parametrize(
    ("markdown", "line"),
    [
        ("One.\n\n" + "word " * 10 + "\n" + "word " * 11 + ".\n", 3),
        ("One. Two\nthree. " + "word " * 20 + "end.\n", 2),
        ("- One.\n- " + "word " * 20 + "end.\n", 2),
        ("> " + "word " * 20 + "end.\n", 1),
        ("| a | b |\n|---|---|\n| c | d |\n| e | " + "word " * 15 + "end |\n", 4),
        ("Words with *emphasis*, a [link](x.md) and `code`: " + "word " * 14 + ".\n", 1),
    ],
)
def test_long_sentence_is_found_where_it_begins(markdown: str, line: int) -> None:
    ((found, message),) = faults(markdown)
    assert found == line
    assert re.match(r"\d+ words in a (sentence|cell), of at most ", message)


def test_cell_is_measured_as_a_whole_unless_the_page_may_have_sentences_in_it() -> None:
    table = "| a | b |\n|---|---|\n| c | " + "word " * 9 + "end. " + "word " * 9 + "end. |\n"
    assert faults(table) == [(3, "20 words in a cell, of at most 15: word word word word word word …")]
    assert list(RULES.faults(table, several=True)) == []
    assert list(RULES.faults(table.replace("end. ", "or "), several=True)) != []


def test_words_are_looked_for_in_headings_and_alternative_texts_too() -> None:
    assert messages("# The moment of a run\n") == ["'moment': write 'timestamp'"]
    assert messages("![A moment](a.png)\n") == ["'moment': write 'timestamp'"]
    assert messages('A <picture><img alt="A moment" src="a.png"></picture>\n') == ["'moment': write 'timestamp'"]
    assert messages("It is found\ndone.\n") == ["'found done': write 'skipped'"]


def test_line_is_that_of_the_template() -> None:
    template = "one\n{% if a %}two {{ b }} three\n{% else %}four\n{% endif %}five\n"
    rendered = "one\ntwo x three\nfive\n"
    assert [prose.line_of(line, rendered, template) for line in (1, 2)] == [1, 2]
