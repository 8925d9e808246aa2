"""Pages of the documentation site that are not in `docs/`: other Markdown of the repository, and a project's own.

A hook of MkDocs. The pages of a project are those of one that is generated with the default answers. Links are those
of the repository, so that they work on its pages too; the site's copy of a page or file is linked instead.
"""

import os
import posixpath
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import docs_reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
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
LINK = re.compile(r"\]\((?P<path>[^)\s#:]+)(?P<anchor>#[^)\s]*)?\)")


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
    for path in (project() / "README.md", *sorted((project() / "docs").glob("*.md"))):
        site = f"project/{path.relative_to(project()).as_posix()}"
        files.append(File.generated(config, site, abs_src_path=str(path)))
    for site, text in docs_reference.pages(project()).items():
        files.append(File.generated(config, site, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    here = page.file.src_uri
    folder = posixpath.dirname(repository_path(here))

    def link(found: re.Match[str]) -> str:
        source = posixpath.normpath(posixpath.join(folder, found["path"].replace("%7B", "{").replace("%7D", "}")))
        if not (ROOT / source).is_file():
            return found[0]  # MkDocs says what is wrong
        target = site_path(source)
        if not files.get_file_from_path(target):
            files.append(File.generated(config, target, abs_src_path=str(ROOT / source)))
        return f"]({posixpath.relpath(target, posixpath.dirname(here) or '.')}{found['anchor'] or ''})"

    return LINK.sub(link, markdown)


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
