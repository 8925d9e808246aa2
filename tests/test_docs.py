"""The documentation site: it is built strictly, asks no other host, and its search and reference have everything."""

import ast
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from variants import CHOICES, PROMPTS, ROOT, TEMPLATE, Answers

ATTRIBUTES = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "video": "src"}


class Page(HTMLParser):
    """A page of the site: what it loads, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.texts: list[str] = []
        self.feed(html)
        self.text = " ".join("".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids.append(given.get("id", ""))
        if tag in ATTRIBUTES and given.get("rel") != "canonical":
            self.loads.append(given.get(ATTRIBUTES[tag], ""))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def page(site: Path, address: str) -> Page:
    return Page((site / address / "index.html").read_text(encoding="utf-8"))


def foreign(html: str) -> list[str]:
    """Return what a page loads from other hosts."""
    return [place for place in Page(html).loads if re.match(r"(https?:)?//", place)]


@pytest.mark.parametrize(
    ("html", "count"),
    [
        ('<script src="https://cdn.example.com/a.js"></script>', 1),
        ('<link rel="stylesheet" href="//fonts.example.com/a.css">', 1),
        ('<img src="http://example.com/a.png">', 1),
        ('<link rel="canonical" href="https://example.com/">', 0),
        ('<a href="https://example.com/">a link</a><img src="../a.png">', 0),
    ],
)
def test_what_a_page_loads_from_other_hosts_is_found(html: str, count: int) -> None:
    assert len(foreign(html)) == count


@pytest.mark.slow
def test_no_page_asks_another_host(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 25
    assert {str(path): found for path in pages if (found := foreign(path.read_text(encoding="utf-8")))} == {}
    styles = [path.read_text(encoding="utf-8") for path in site.rglob("*.css")]
    assert styles
    assert [found for style in styles for found in re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//", style)] == []


@pytest.mark.slow
def test_search_finds_words_of_each_kind_of_page(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))["docs"]
    wanted = {
        "tutorial/": "pkill -KILL",
        "incremental/": "high-water mark",
        "reference/settings/": "DURABLE_FLIGHTS_WORKERS",
        "reference/verbs/": "run_chunks",
        "project/docs/deploy/": "kubectl create secret",
        "promises/": "SIGKILL",
        "glossary/": "idempotent upsert",
    }
    for address, words in wanted.items():
        texts = [f"{entry['title']} {entry['text']}" for entry in index if entry["location"].startswith(address)]
        assert words in " ".join(re.sub(r"<[^>]+>", "", " ".join(texts)).split()), address


@pytest.mark.slow
def test_pictures_follow_the_switch_between_light_and_dark(site: Path) -> None:
    shown = {place for place in page(site, "what-you-see").loads if "screens/" in place}
    assert shown == {
        f"../screens/{path.name}#only-{'dark' if path.stem.endswith('-dark') else 'light'}"
        for path in (ROOT / "docs" / "screens").glob("*.png")
    }
    assert [place for place in shown if not (site / "what-you-see" / place.partition("#")[0]).is_file()] == []
    assert "screens/demo.svg" in page(site, ".").loads


@pytest.mark.slow
def test_llms_txt_lists_each_page_with_a_line(site: Path) -> None:
    lines = re.findall(r"^- \[(.+)\]\((.+)\): (.*)$", (site / "llms.txt").read_text(encoding="utf-8"), re.MULTILINE)
    listed = {address.removeprefix("./"): gist for _, address, gist in lines}
    expected = {re.sub(r"(^|/)(index|README)/$", r"\1", f"{name.removesuffix('.md')}/") for name in navigation()}
    assert set(listed) == expected
    assert [address for address, gist in listed.items() if len(gist) < 10] == []


@pytest.mark.slow
def test_gallery_shows_projects_with_their_files_and_their_own_readme(site: Path) -> None:
    shown = [name.removesuffix(".md") for name in navigation() if name.startswith("gallery/")]
    assert len(shown) == 4
    for name in shown:
        exhibit = page(site, name)
        (given,) = re.findall(r"cookiecutter TEMPLATE --no-input((?: \w+=\w+)*)", exhibit.text)
        answers = dict(answer.split("=") for answer in given.split())
        assert all(answer in CHOICES[prompt] for prompt, answer in answers.items())
        assert re.search(rf"{given.strip() or 'the defaults'} 3\.\d+\.\d+ [\d.]+ passed \d+ ", exhibit.text), name
        files = exhibit.text.partition("durable-flights/ ")[2].split()
        assert {"Makefile", "README.md", "pyproject.toml", "upserts.py"} <= {*files}
        assert ("migrations/" in files) == (answers.get("upsert") != "none")
        containers = answers.get("deployment") == "docker" or answers.get("upsert") == "postgres"
        assert ("compose.yaml" in files) == containers
        readme = page(site, f"{name}/project")
        assert "Write your own flow" in readme.text
        assert ("make image" in readme.text) == ("deployment" in answers)


def navigation() -> list[str]:
    """Return the pages in the navigation of `mkdocs.yml`."""

    class Loader(yaml.SafeLoader):
        """One that does not ask the environment."""

    Loader.add_constructor("!ENV", lambda loader, node: None)
    found: list[str] = []

    def walk(part: Any) -> None:
        if isinstance(part, str):
            found.append(part)
        else:
            for inner in part.values() if isinstance(part, dict) else part:
                walk(inner)

    walk(yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)["nav"])
    return found


@pytest.mark.slow
def test_reference_names_each_prompt_answer_and_refusal(site: Path) -> None:
    reference = page(site, "reference/prompts")
    labels = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))["__prompts__"]
    for prompt in PROMPTS:
        assert prompt in reference.ids, "each prompt has a section"
        section = reference.text.split(f" {prompt}¶ ", 1)[1].split("¶", 1)[0]
        for answer in CHOICES.get(prompt, []):
            assert f"{answer} {labels[prompt][answer].removeprefix(f'{answer}: ').replace('`', '')}" in section
    refusals = reference.text.split("Refused combinations¶", 1)[1]
    for combination in TEMPLATE.refused:
        assert " with ".join(f"{prompt}={answer}" for prompt, answer in combination.items()) in refusals


@pytest.mark.slow
def test_reference_names_each_setting_command_exit_code_and_verb(site: Path, baked: Callable[[Answers], Path]) -> None:
    settings, commands, verbs = (page(site, f"reference/{name}") for name in ("settings", "commands", "verbs"))
    for answers in ({}, {"result_storage": "gcs", "task_runner": "ray", "upsert": "postgres", "deployment": "docker"}):
        project = baked(answers)
        names = re.findall(r"^#(\w+)=", (project / ".env.example").read_text(encoding="utf-8"), re.MULTILINE)
        assert len(names) > 10
        assert [name for name in names if name not in settings.text] == []
        makefile = (project / "Makefile").read_text(encoding="utf-8")
        targets = re.findall(r"^([a-z-]+):.*?## (.*)$", makefile, re.MULTILINE)
        assert len(targets) > 15
        assert [name for name, does in targets if f"make {name} {does.replace('`', '')}" not in commands.text] == []
        (stub,) = project.glob("src/*/durable/__init__.pyi")
        body = ast.parse(stub.read_text(encoding="utf-8")).body
        public = [alias.name for node in body if isinstance(node, ast.ImportFrom) for alias in node.names]
        assert len(public) > 20
        ends = {name.lower().rpartition(".")[2] for name in verbs.ids}
        assert [name for name in public if name.lower() not in ends] == []
    codes = commands.text.split("exit code", 1)[1]
    assert re.findall(r"(\d+) (?:all is done|the run failed|the input or|stopped by)", codes) == ["0", "1", "2", "130"]


@pytest.mark.rotating
@pytest.mark.slow
def test_orphan_a_broken_link_and_a_broken_anchor_fail_the_build(
    site: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    copy = tmp_path / "template"
    shutil.copytree(
        ROOT, copy, ignore=lambda folder, names: {name for name in names if folder == str(ROOT) and name[0] == "."}
    )
    (copy / "docs" / "orphan.md").write_text("# Orphan\n", encoding="utf-8")
    with (copy / "docs" / "glossary.md").open("a", encoding="utf-8") as glossary:
        glossary.write("\n[a](nowhere.md) [b](tutorial.md#nowhere) [c](../nowhere.py) [d](../CHANGELOG.md#nowhere)\n")
    done = subprocess.run(
        [ROOT / ".docs" / "venv" / "bin" / "mkdocs", "build", "--strict"],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    for fault in ("orphan.md", "nowhere.md", "tutorial.md#nowhere", "../nowhere.py", "changelog.md#nowhere"):
        assert re.search(rf"WARNING.*{re.escape(fault)}|^ +- {re.escape(fault)}", done.stderr, re.MULTILINE), fault


def test_glossary_has_each_term_once_in_its_order() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    terms = [re.fullmatch(r"- \*\*(.+?)\*\*: .+\.", line) for line in lines]
    assert all(terms)
    names = [term[1].lower() for term in terms if term]
    assert names == sorted(set(names))
    assert len(names) > 20
