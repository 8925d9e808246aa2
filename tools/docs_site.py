"""Pages of the documentation site that are not in `docs/`: other Markdown of the repository, and a project's own.

A hook of MkDocs. The pages of a project are those of one that is generated with the default answers. Links are those
of the repository, so that they work on its pages too; the site's copy of a page or file is linked instead. `llms.txt`
lists all pages.
"""

import os
import posixpath
import re
import shutil
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path

import docs_explorer
import docs_gallery
import docs_reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / ".docs" / "projects"
TEMPLATE = "{{cookiecutter.project_slug}}"
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
}
"""Where the site has pages of the repository that are neither in `docs/` nor a project's."""
SITES = {site: source for source, site in PAGES.items()}
CLOUD = {"result_storage": "s3", "upsert": "postgres"}
SECTIONS = {
    "deploy.md": (
        "Deploy",
        "Deployment",
        "The prompt `deployment` decides where runs run. This is what a project's `docs/operation.md` says with each"
        " answer.",
        [{"deployment": "process"}, {"deployment": "docker"}, {"deployment": "kubernetes", **CLOUD}],
    ),
    "scale-out.md": (
        "Scale out",
        "The cluster",
        "The prompt `task_runner` decides where mapped tasks run. This is what a project's `docs/operation.md` says of"
        " clusters, with results in S3 and tables in PostgreSQL.",
        [{"task_runner": "dask", **CLOUD}, {"task_runner": "ray", **CLOUD}],
    ),
}
"""Pages of one section of `docs/operation.md` as it is with several answers: title, section, introduction, answers."""
MOVED = {
    "project/docs/operation.md#deployment": "project/docs/deploy.md",
    "project/docs/operation.md#the-cluster": "project/docs/scale-out.md",
}
"""Where the site has such a section with all answers."""
NAVIGATION: list[Page] = []
"""The pages of the build, in their order."""
TEST = re.compile(r"\[(?P<test>`\w+`)\]\((?:\.\./)?tests/[^)]+\)")
"""A link to a project's test: its files are in the explorer, and not among the pages."""
LINK = re.compile(r"\]\((?P<path>[^)\s#:]+)(?P<anchor>#[^)\s]*)?\)")

PICTURE = re.compile(
    r'<picture><source media="\(prefers-color-scheme: dark\)" srcset="(?P<dark>[^"]+)">'
    r'<img alt="(?P<text>[^"]*)" src="(?P<light>[^"]+)"></picture>'
)
"""A picture in light and dark as GitHub shows it; the theme of the site has its own way, which follows its switch."""


@cache
def project(**answers: str) -> Path:
    """Generate a project, and return its folder."""
    folder = BUILD / "-".join(["project", *answers.values()])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # Cookiecutter notes answers and clones in the home otherwise.
    own = folder / "config.yaml"
    own.write_text(f"replay_dir: {folder / 'replay'}\ncookiecutters_dir: {folder / 'clones'}\n", encoding="utf-8")
    command = [sys.executable, "-m", "cookiecutter", ROOT, "--no-input", "--config-file", own, "--output-dir", folder]
    given = [f"{prompt}={answer}" for prompt, answer in answers.items()]
    subprocess.run([*command, *given], check=True, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONUTF8": "1"})
    (made,) = (path.parent for path in folder.glob("*/pyproject.toml"))
    return made


@event_priority(100)  # before mkdocstrings looks for the code
def on_config(config: MkDocsConfig) -> MkDocsConfig:
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [str(project() / "src")]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for source, site in PAGES.items():
        files.append(File.generated(config, site, abs_src_path=str(ROOT / source)))
    texts, own = docs_gallery.files(project)
    own |= {f"project/{site}": path for site, path in docs_reference.own_pages(project()).items()}
    for site, path in own.items():
        files.append(File.generated(config, site, abs_src_path=str(path)))
    texts |= docs_reference.pages(project()) | {"explorer/data.js": docs_explorer.script()}
    texts |= {f"project/docs/{name}": section(*parts) for name, parts in SECTIONS.items()}
    for site, text in texts.items():
        files.append(File.generated(config, site, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    here = page.file.src_uri
    markdown = TEST.sub(r"\g<test>", markdown)
    if re.match(rf"{docs_gallery.PAGES}/[^/]+/", here):
        page.meta["search"] = {"exclude": True}  # else a search would find each text of a project five times
        return markdown
    folder = posixpath.dirname(repository_path(here))

    def link(found: re.Match[str]) -> str:
        source = posixpath.normpath(posixpath.join(folder, found["path"].replace("%7B", "{").replace("%7D", "}")))
        if not (ROOT / source).is_file():
            return found[0]  # MkDocs says what is wrong
        target = site_path(source)
        if moved := MOVED.get(f"{target}{found['anchor']}"):
            return f"]({posixpath.relpath(moved, posixpath.dirname(here) or '.')})"
        if not files.get_file_from_path(target):
            files.append(File.generated(config, target, abs_src_path=str(ROOT / source)))
        return f"]({posixpath.relpath(target, posixpath.dirname(here) or '.')}{found['anchor'] or ''})"

    plain = PICTURE.sub(r"![\g<text>](\g<light>#only-light)![\g<text>](\g<dark>#only-dark)", markdown)
    return LINK.sub(link, plain)


def section(title: str, heading: str, introduction: str, variants: list[dict[str, str]]) -> str:
    """Return a page with a section of `docs/operation.md`, in a tab for each variant."""
    lines = [f"# {title}", "", introduction, ""]
    for answers in variants:
        page = (project(**answers) / "docs" / "operation.md").read_text(encoding="utf-8")
        text = page.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0].strip()
        prompt = next(iter(answers))
        lines += [f'=== "{prompt}={answers[prompt]}"', "", textwrap.indent(text, "    "), ""]
    return "\n".join(lines)


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> None:
    NAVIGATION[:] = nav.pages


def on_post_build(config: MkDocsConfig) -> None:
    """Write `llms.txt`: each page of the navigation, with its gist."""
    lines = [f"# {config.site_name}", "", f"> {config.site_description}."]
    sections: list[str] = []
    for page in NAVIGATION:
        heading = page.ancestors[-1].title if page.ancestors else "Start"
        if heading not in sections:
            sections.append(heading)
            lines += ["", f"## {heading}", ""]
        address = page.canonical_url or page.url or "./"
        lines.append(f"- [{page.title}]({address}): {gist(page.markdown or '')}")
    Path(config.site_dir, "llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def gist(markdown: str) -> str:
    """Return the first sentence before the first section of a page, or the names of its sections."""
    plain = re.sub(r"^```.*?^```$", "", markdown, flags=re.DOTALL | re.MULTILINE)
    introduction, *sections = re.split(r"^## ", plain, flags=re.MULTILINE)
    texts = [
        " ".join(text.split()) for text in introduction.split("\n\n") if text.strip() and text.strip()[0] not in "#|"
    ]
    if texts:
        return re.split(r"(?<=[.:])\s", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", texts[0]), maxsplit=1)[0].rstrip(".:")
    return ", ".join(section.splitlines()[0] for section in sections)


def repository_path(site: str) -> str:
    """Return the path in the repository of what the site has at a path."""
    if site.startswith("project/"):
        return site.replace("project", TEMPLATE, 1)
    return SITES.get(site, f"docs/{site}")


def site_path(source: str) -> str:
    """Return where the site has a file of the repository."""
    folder, _, rest = source.partition("/")
    if folder == TEMPLATE and rest.endswith(".md"):
        return f"project/{rest}"
    return PAGES.get(source) or (rest if folder == "docs" else f"files/{source}")
