"""The gallery of the site: four generated projects, each with its command, its files and its own pages."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from docs_reference import CHOICES, CONFIG, ROOT, own_pages, table, text_of

REPORT = ROOT / "docs" / "tested.md"
PAGES = "gallery"
"""The folder of the gallery on the site."""


class Exhibit(NamedTuple):
    """A project of the gallery."""

    title: str
    gist: str
    answers: dict[str, str]


EXHIBITS = {
    "default": Exhibit(
        "The default answers",
        "Everything on one machine: results in a folder, tables in SQLite, runs as processes.",
        {},
    ),
    "s3-postgres-docker": Exhibit(
        "S3, PostgreSQL and Docker",
        "Results in S3, tables in PostgreSQL, each run in a container.",
        {"result_storage": "s3", "upsert": "postgres", "deployment": "docker"},
    ),
    "gcs-ray-kubernetes": Exhibit(
        "Google Cloud Storage, Ray and Kubernetes",
        "Results in Google Cloud Storage, tables in PostgreSQL, each run in a pod with a Ray cluster.",
        {"result_storage": "gcs", "upsert": "postgres", "task_runner": "ray", "deployment": "kubernetes"},
    ),
    "no-database": Exhibit(
        "No database",
        "A chunk's stored result is its effect; checkpoints are in a file on this machine.",
        {"upsert": "none", "checkpoint": "file"},
    ),
}


def files(project: Callable[..., Path]) -> tuple[dict[str, str], dict[str, Path]]:
    """Generate the projects. Return the texts of their pages in the gallery, and the pages that are their own."""
    texts: dict[str, str] = {}
    own: dict[str, Path] = {}
    for name, exhibit in EXHIBITS.items():
        folder = project(**exhibit.answers)
        texts[f"{PAGES}/{name}.md"] = page(name, exhibit, folder)
        own |= {f"{PAGES}/{name}/project/{site}": path for site, path in own_pages(folder).items()}
    return texts, own


def page(name: str, exhibit: Exhibit, folder: Path) -> str:
    """Return the page of a project."""
    given = "".join(f" {prompt}={answer}" for prompt, answer in exhibit.answers.items())
    chosen = {prompt: exhibit.answers.get(prompt, choices[0]) for prompt, choices in CHOICES.items()}
    labels = CONFIG["__prompts__"]
    rows = [[f"`{prompt}`", f"`{answer}`", text_of(labels[prompt], answer)] for prompt, answer in chosen.items()]
    lines = [f"# {exhibit.title}", "", exhibit.gist, ""]
    lines += ["```console", f"cookiecutter TEMPLATE --no-input{given}", "```", ""]
    lines += ["`TEMPLATE` is the path of the template's repository, or `git+` and its URL.", ""]
    lines += [
        f"Read [the project's README]({name}/project/README.md), as it is generated. It links to the project's docs.",
        "",
    ]
    lines += ["## Tests", "", *tests(given.strip())]
    lines += ["## Answers", "", *table(["prompt", "answer", "what it is"], rows)]
    lines += ["## Files", "", "```text", f"{folder.name}/", *tree(folder, "    "), "```", ""]
    return "\n".join(lines)


def tests(given: str) -> list[str]:
    """Return what `make report` has found of a project with these answers, newest Python last."""
    lines = REPORT.read_text(encoding="utf-8").splitlines()
    heads = [line for line in lines if line.startswith(("| variant", "| ---"))]
    rows = [line for line in lines if line.startswith(f"| {f'`{given}`' if given else 'the defaults'} |")]
    (made,) = (line for line in lines if line.startswith("`make report`"))
    return [made, "See [Whole projects and their tests](../tested.md).", "", *heads, *rows, ""]


def tree(folder: Path, indent: str) -> list[str]:
    """Return the names of what is in a folder, folders last, each with its content below."""
    lines = []
    for path in sorted(folder.iterdir(), key=lambda path: (path.is_dir(), path.name)):
        lines.append(f"{indent}{path.name}{'/' if path.is_dir() else ''}")
        if path.is_dir():
            lines += tree(path, f"{indent}    ")
    return lines
