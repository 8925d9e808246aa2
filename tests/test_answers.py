"""Any answer is either refused with its reason, or right in every file: answers are data."""

import json
import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from conftest import Attempt, Bake
from cookiecutter.cli import main as cookiecutter
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from variants import ALL, CHOICES, FREE_TEXT, PROMPTS, ROOT, Answers, context, hook, pairwise

TEXTS = {"project_name": 100, "author_name": 100, "description": 2000}
"""The answers of free text that are not names of files or packages, and how long they may be."""

NAMES = {"project_slug": "flights", "package_name": "flights"}

# A text starts with one of these, goes on with some of INSIDE, and ends with one of ENDS: few bakes try them all.
STARTS = [
    "- ", "+ ", "* ", "1. ", "1) ", "1986. ", "> ", "# ", "###### ", "=", "=== ", "--- ", "~~~ ", "``` ", "| ", "|",
    "[x]: ", "[^1]: ", "! ", "!tag ", "&anchor ", "*alias ", "@at ", "% ", "? ", ": ", "\"", "'", "\"\"\" ", "\\",
    "<div>", "<!-- ", "</p> ", "{", "{{ ", "$",
]  # fmt: skip
INSIDE = [
    "O'Neil's", 'says "hello"', "'", '"', '"""', "'''", "\\", "C:\\new\\table\\", "\\u0041\\x41", "\\N{BEL}", "\\*",
    "\\\\", "👩‍👩‍👧‍👦", "❤️", "🛫", "日本語", "Ünïcödé", "e\u0301", "\U0001d518", "C#", "a #comment", "a: b", "50%",
    "%(name)s", "%s", "{0}", "{{ 7*7 }}", "{{ cookiecutter.license }}", "{% raw %}", "{% endraw %}", "{# gone? #}",
    "}} {{", "{}", "${HOME}", "$HOME", "__import__('os').system('touch HERE')", "{{ ''.__class__.__mro__ }}",
    "$(touch HERE)", "`touch HERE`", "`code`", "``", "*bold*", "**bold**", "_under_", "a_b_c",
    "[link](https://example.com)", "[x]", "![image](x.png)", "<b>bold</b>", "<!-- x -->", "<https://example.com>",
    "<me@example.com>", "&amp;", "&#65;", "a & b", "a | b", "~strike~", "~~strike~~", "- item", "2. item", "@at",
    "[a, b]", "{a: b}", "a, b", "https://example.com/a_b_c", ":smile:", "#12", "me@example.com",
]  # fmt: skip
ENDS = [
    "\\", '\\"', '"', "'", " #", "#", ":", " ##", "=", "\\\\", "`", "*", "_", "]", ">", "}}", "%}", "{{", "|", ".", "&",
    "&lt;", '"""', " -",
]  # fmt: skip
# Whole texts that formats take for something other than text.
WHOLE = [
    "===",
    "---",
    "- ",
    "1.",
    "#",
    "*",
    "\\",
    '"',
    "'",
    "yes",
    "null",
    "1e3",
    "2024-01-01",
    "~",
    "x" * 100,
    "*" * 90,
]

HARD = [
    *WHOLE,
    *(
        f"{start}{INSIDE[2 * number % len(INSIDE)]} {INSIDE[(2 * number + 1) % len(INSIDE)]}{ENDS[number % len(ENDS)]}"
        for number, start in enumerate(STARTS)
    ),
]

BAD = ["a\nb", "a\tb", "a\x00b", "a\x1b[31mb", "a\u2028b", "a\u202eb", "a  b", " a", "a ", "", "x" * 2001]

commonmark = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def fits(answers: Answers) -> Answers:
    """Take the blanks from the ends, and what is too long."""
    return {prompt: " ".join(text.split())[: TEXTS[prompt]].strip() for prompt, text in answers.items()}


def text_of(token: Token) -> str:
    """The text of a heading or a paragraph, which is to have nothing but text."""
    assert {child.type for child in token.children or []} == {"text"}, f"is not plain text: {token.content!r}"
    return "".join(child.content for child in token.children or [])


def check(project: Path, answers: Answers) -> None:
    """Fail where an answer is not what was given, in any file that states it or may be broken by it."""
    for path in sorted(path for path in project.rglob("*") if path.is_file()):
        if path.suffix == ".py":
            compile(path.read_bytes(), str(path), "exec")
        elif path.suffix in {".yaml", ".yml"}:
            yaml.safe_load(path.read_text(encoding="utf-8"))
        elif path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".toml":
            tomllib.loads(path.read_text(encoding="utf-8"))

    written = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    slug = answers.get("project_slug", NAMES["project_slug"])
    package = answers.get("package_name", NAMES["package_name"])
    author = {"name": answers["author_name"], "email": answers.get("author_email", "")}
    assert written["name"] == project.name == slug
    assert written["scripts"] == {slug: f"{package}.__main__:main"}
    assert (project / "src" / package / "__main__.py").is_file()
    assert written["description"] == answers["description"]
    assert [{"email": "", **found} for found in written["authors"]] == [author]

    deployments = yaml.safe_load((project / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    example = ["load-flights"] if answers.get("example", "flights") == "flights" else []
    assert [deployment["name"] for deployment in deployments] == example
    if answers.get("deployment") == "docker":
        composed = yaml.safe_load((project / "compose.yaml").read_text(encoding="utf-8"))
        assert {composed["services"][service]["image"] for service in ("server", "worker")} == {slug}
        assert composed["networks"]["default"]["name"] == slug
    if (project / "Dockerfile").exists():
        *_, last = (project / "Dockerfile").read_text(encoding="utf-8").splitlines()
        assert json.loads(last.removeprefix("CMD ")) == ["python", "-m", package, "--help"]

    tokens = commonmark.parse((project / "README.md").read_text(encoding="utf-8"))
    assert [token.tag for token in tokens if token.type.endswith("_open")][:2] == ["h1", "p"]
    heading, paragraph, *_ = [token for token in tokens if token.type == "inline"]
    assert text_of(heading) == answers["project_name"]
    assert text_of(paragraph) == answers["description"]
    assert (project / "LICENSE").is_file()


@pytest.mark.rotating
@pytest.mark.parametrize("text", HARD, ids=ascii)
def test_a_hard_text_is_right_everywhere(bake: Bake, text: str) -> None:
    answers = fits(dict.fromkeys(TEXTS, text))
    check(bake(**NAMES, **answers), answers)


@pytest.mark.parametrize("text", ["- {} #", "1. {}:", '"{}\\'])
def test_a_very_long_text_is_right_everywhere(bake: Bake, text: str) -> None:
    answers = {
        prompt: text.replace("{}", ("flights and " * 200)[: limit - len(text)] + "xx")
        for prompt, limit in TEXTS.items()
    }
    assert {prompt: len(answer) for prompt, answer in answers.items()} == TEXTS
    check(bake(**NAMES, **answers), answers)


@pytest.mark.parametrize(
    ("prompt", "text"),
    [(list(TEXTS)[number % len(TEXTS)], text) for number, text in enumerate(BAD)],
    ids=lambda value: ascii(value[:20]),
)
def test_a_bad_text_is_refused_and_leaves_nothing(refused: Callable[..., str], prompt: str, text: str) -> None:
    assert prompt in refused(**NAMES, **{prompt: text})


piece = st.sampled_from([*STARTS, *INSIDE, *ENDS, *WHOLE, *BAD]) | st.text(max_size=6)
text = st.lists(piece, min_size=1, max_size=4).map("".join) | st.lists(piece, min_size=1, max_size=4).map(" ".join)
slug = st.from_regex(r"[a-z][a-z0-9]{0,12}(-[a-z0-9]{1,12}){0,3}", fullmatch=True)
package = st.from_regex(r"[a-z][a-z0-9_]{0,39}", fullmatch=True)
email = st.just("") | st.from_regex(r"[A-Za-z0-9._%+-]{1,20}@[a-z0-9-]{1,9}(\.[a-z]{2,3}){1,2}", fullmatch=True)
names = st.fixed_dictionaries({"project_slug": slug, "package_name": package, "author_email": email})
# Cookiecutter makes the folder before the hook can refuse its name; what no folder can be called ends there.
odd_slug = text.map(lambda name: re.sub(r"[/\0]", "", name)[:60]).filter(lambda name: name not in {"", ".", ".."})
odd_answer = st.sampled_from(FREE_TEXT).flatmap(
    lambda prompt: st.tuples(st.just(prompt), odd_slug if prompt == "project_slug" else text)
)
BAKES = 1000 if ALL else 40
PARTS = 4
"""So that several processes share them."""


@pytest.mark.parametrize("part", range(PARTS))
def test_any_answers_are_right_everywhere_or_refused(bake: Bake, refused: Callable[..., str], part: int) -> None:
    """Whatever is answered in free text; now and then something untidy, or something that is no name at all."""

    @seed(part)
    # No bake takes long, but to look for the shortest text that fails would take hundreds.
    @settings(
        max_examples=BAKES // PARTS,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        texts=st.fixed_dictionaries(dict.fromkeys(TEXTS, text)),
        given_names=names,
        odd=st.none() | st.none() | st.none() | odd_answer,
        choices=st.sampled_from(pairwise()),
    )
    def tried(texts: Answers, given_names: Answers, odd: tuple[str, str] | None, choices: Answers) -> None:
        answers = {**choices, **fits(texts), **given_names, **(dict([odd]) if odd else {})}
        counts.append(1)
        if reasons := hook("pre_gen_project").refusals(context(**answers)["cookiecutter"])[0]:
            said = refused(**answers)
            assert [reason for reason in reasons if reason not in said] == []
        else:
            check(bake(**answers), answers)

    counts: list[int] = []
    tried()
    assert len(counts) >= BAKES // PARTS


@pytest.mark.parametrize("deployment", CHOICES["deployment"])
@pytest.mark.parametrize("name", ["null", "yes", "off", "e1", "inf"])
def test_a_name_that_yaml_takes_for_something_else_is_a_name(bake: Bake, name: str, deployment: str) -> None:
    choices = {"deployment": deployment, "result_storage": "s3", "upsert": "postgres"}
    answers = {**choices, **dict.fromkeys([*TEXTS, "project_slug", "package_name"], name)}
    check(bake(**answers), answers)


@pytest.mark.parametrize("answer", CHOICES["license"])
def test_the_license_names_the_author_as_given(bake: Bake, answer: str) -> None:
    text = 'Zoë O\'Neil & "Söns" <b> {{ 7*7 }} 👩‍👩‍👧‍👦 \\'
    licence = (bake(license=answer, author_name=text) / "LICENSE").read_text(encoding="utf-8")
    if answer == "Apache-2.0":
        # Its text is the same for everybody; the author stands in pyproject.toml.
        assert "Apache License" in licence
    else:
        assert f"Copyright (c) {text}" in licence


def test_an_email_is_that_of_the_author_and_may_be_missing(bake: Bake) -> None:
    def authors(email: str) -> list[dict[str, str]]:
        project = bake(author_name="Data Team", author_email=email)
        return tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]["authors"]

    assert authors("data@example.com") == [{"name": "Data Team", "email": "data@example.com"}]
    assert authors("") == [{"name": "Data Team"}]


def test_what_is_typed_at_the_prompts_is_not_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same through Cookiecutter's own prompts, since the other tests give answers by a program."""
    monkeypatch.chdir(tmp_path)
    answers = {
        "project_name": "{{ 7*7 }} $(touch HERE)",
        "description": "{{ ''.__class__ }} __import__('os').system('touch HERE') `touch HERE` \"\"\" + open('HERE') #",
        "author_name": "'; touch HERE; '",
    }
    lines = [{**answers, **NAMES}.get(prompt, "") for prompt in PROMPTS]
    outcome = CliRunner().invoke(cookiecutter, [str(ROOT)], input="\n".join(lines) + "\n")
    assert outcome.exit_code == 0, outcome.output
    assert os.listdir() == ["flights"]
    assert not list(Path("flights").rglob("HERE"))
    check(Path("flights").resolve(), answers)


def test_a_bake_by_a_program_is_as_one_at_the_prompts(attempt: Attempt) -> None:
    result, _ = attempt(project_name="{{ 7*7 }}", **NAMES)
    assert result.context["project_name"] == "{{ 7*7 }}"
