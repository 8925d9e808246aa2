"""The template's released versions, as its git history has them."""

import io
import json
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from release import VERSIONS, contract
from variants import ALL, ROOT

RELEASED: dict[str, dict[str, Any]] = json.loads(VERSIONS.read_text(encoding="utf-8"))
"""Of each version its commit, and what projects of it may have answered; the oldest first."""
ONE_ROOM = "b5918ed3217860d100ec72a76debfececd5054c0"
"""The last commit before projects had two rooms."""
PRE_GEN = "hooks/pre_gen_project.py"
NAME, EMAIL = "Template Tests", "tests@example.com"
GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": NAME,
    "GIT_AUTHOR_EMAIL": EMAIL,
    "GIT_COMMITTER_NAME": NAME,
    "GIT_COMMITTER_EMAIL": EMAIL,
}
"""Settings of git in the environment: none of whoever runs the tests."""
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | GIT


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run git in a folder, with no setting of whoever runs the tests."""
    command = ["git", "-c", "safe.directory=*", "-c", "init.defaultBranch=main", *arguments]
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, check=False)


def git(folder: Path, *arguments: str) -> str:
    """Return what git says, after a look that it went well."""
    done = run(folder, *arguments)
    assert done.returncode == 0, f"git {' '.join(arguments)}\n{done.stderr.decode()}"
    return done.stdout.decode()


def missing(version: str) -> str:
    """Return why the version's files cannot be had, or nothing where they can."""
    if run(ROOT, "cat-file", "-e", f"{UPDATED[version]['commit']}^{{commit}}").returncode == 0:
        return ""
    if run(ROOT, "rev-parse", "--is-shallow-repository").stdout.strip() != b"false":
        return f"this checkout has no history that goes back to {version}"
    raise AssertionError(f"the commit of {version} in {VERSIONS.name} is not in the history")


def text(version: str, path: str) -> str:
    """Return a file as the version has it."""
    return git(ROOT, "show", f"{UPDATED[version]['commit']}:{path}")


def updated() -> dict[str, dict[str, Any]]:
    """Return the versions whose projects are updated: those released, and in `make test-all` that of one room."""
    prompts, hook = (run(ROOT, "show", f"{ONE_ROOM}:{file}") for file in ("cookiecutter.json", PRE_GEN))
    if not ALL or prompts.returncode or hook.returncode:
        return RELEASED
    return RELEASED | {"one-room": {"commit": ONE_ROOM} | contract(prompts.stdout.decode(), hook.stdout.decode())}


UPDATED = updated()


def repository(bare: Path) -> Path:
    """Make a bare repository with a commit and a tag for each version that is here; its head is the files as they are.

    So changes that are not committed yet are seen too.
    """
    git(bare.parent, "init", "--quiet", "--bare", str(bare))
    for version, released in UPDATED.items():
        if not missing(version):
            files = run(ROOT, "archive", "--format=tar", released["commit"]).stdout
            with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=io.BytesIO(files)) as archive:
                # Python before 3.11.4 has no filters; what git has archived needs none.
                archive.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
                commit(bare, Path(folder), version)
            git(bare, "tag", version)
    commit(bare, ROOT, "the files as they are")
    return bare


def commit(bare: Path, files: Path, message: str) -> None:
    git(files, f"--git-dir={bare}", f"--work-tree={files}", "add", "--all")
    git(
        files, f"--git-dir={bare}", f"--work-tree={files}", "commit", "--quiet", "--allow-empty", f"--message={message}"
    )
