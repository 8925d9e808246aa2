"""Changes of the answers that this project was made with: `make switch upsert=postgres`.

cruft makes the project with the old and the new answers, and merges the difference into yours. The change is tried in a
copy first: what cannot work is said before anything is touched. Nothing is committed, and your rooms stay as they are.
"""

import json
import os
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from . import runs, transfer
from .errors import InputError, one_line
from .settings import PREFIX, ROOT, env_variables

LINK = ROOT / ".cruft.json"
"""What cruft knows of this project: its template, the template's commit, and the answers."""
CRUFT = "CRUFT"
"""The variable with the command that runs cruft, as the Makefile sets it."""
KINDS = {"A": "added", "D": "removed", "M": "changed"}
"""Words for what git says of a file."""
NOTES = {
    "upsert": "the new database is empty, and the next run loads all again, unless DATA=1 carries rows over",
    "checkpoint": "what is done is not carried over: the next run does each chunk again",
    "result_storage": "stored results stay where they are, and new runs do not find them",
    "task_runner": "deployments keep the old code until `make deploy`",
    "deployment": "deployments stay in the old work pool until `make deploy`",
}
"""What a change of these prompts means for the next run."""
REWRITE = "your flows stay as they are; those for a project with a database do not fit one without, nor the reverse"


@dataclass(frozen=True)
class Change:
    """What new answers do to the project's files."""

    files: list[str]
    """A line for each file, with what happens to it, and a line with their number."""
    packages: list[str]
    """Dependencies, with `+` or `-` in front; or why they cannot be told."""
    conflicts: list[str]
    """Files in which the owner's lines and the template's meet."""


def switch(given: Sequence[str], dry: bool, data: bool) -> int:
    """Change answers of this project, and print what that changes. Nothing is committed.

    Args:
        given: prompts with their new answers, such as `upsert=postgres`; names in capitals are variables of `make`.
        dry: whether to print it only.
        data: whether to write the rows of the old database to a file first, for `transfer.carry`.

    Returns:
        The exit code: 0, or 1 if the project has conflicts now.

    Raises:
        InputError: the answers cannot be changed. Nothing was touched.
    """
    link = _link()
    wanted = _wanted(given)
    _check_runs()
    with TemporaryDirectory() as folder:
        old = _check_answers(link, wanted, data, Path(folder))
        change = _try(link, wanted, Path(folder))
    for prompt, answer in wanted.items():
        print(f"{prompt}: {old[prompt]} -> {answer}")
    for line in [*change.files, *change.packages, *_notes(old, wanted, data)]:
        print(line)
    answers = " ".join(f"{prompt}={answer}" for prompt, answer in wanted.items())
    if dry:
        for file in change.conflicts:
            print(f"would conflict with your edits: {file}")
        print(f"nothing was changed; to do it: make switch {answers}{' DATA=1' if data else ''}")
        return 0
    for line in transfer.export() if data else []:
        print(line)
    if fault := _cruft(ROOT, link, wanted):
        raise InputError(fault)
    for file in change.conflicts:
        print(f"conflict: {file}: {_remedy(file)}")
    print("nothing is committed; `git diff HEAD` shows all, and `git reset --hard` undoes it")
    setup = "make setup carry" if data else "make setup"
    if change.conflicts:
        print(f"next: settle the conflicts, then {setup} test, then commit")
        return 1
    print(f"next: {setup}{' (follows now), make' if data else ''} test, then commit")
    return 0


def _link() -> dict[str, Any]:
    """Return what cruft knows of this project, after a check that it can change it."""
    inside = _git(ROOT, "rev-parse", "--is-inside-work-tree")
    if inside.returncode or _git(ROOT, "rev-parse", "--verify", "--quiet", "HEAD").returncode:
        raise InputError("this project is in no git repository; git init, git add . and git commit come first")
    if not LINK.exists():
        raise InputError(
            f"not linked to its template: {LINK.name} is missing. `cruft link TEMPLATE --checkout COMMIT` makes it;"
            " docs/updating.md of the template says how to find the commit"
        )
    if _git(ROOT, "status", "--porcelain").stdout:
        raise InputError("there are changes that are not committed; commit them, or put them aside with git stash -u")
    try:
        link: dict[str, Any] = json.loads(LINK.read_text(encoding="utf-8"))
        _ = link["template"], link["commit"], link["context"]["cookiecutter"]
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{LINK.name} is not as cruft writes it; take it from an older commit") from None
    return link


def _wanted(given: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    wanted = {name: answer for name, _, answer in pairs if not name.isupper()}
    if not wanted or not all(wanted.values()):
        raise InputError("say what to change: make switch upsert=postgres; DRY=1 shows what that would change")
    return wanted


def _check_runs() -> None:
    """Let no run meet two answers."""
    if busy := runs.at_work():
        raise InputError(f"flow run {busy[0]} is at work; wait for its end, or stop it")
    if killed := runs.dead():
        flow_run_id, flow = killed[0]
        raise InputError(
            f"flow run {flow_run_id} of {flow or 'a flow'} was killed, and would be resumed with other answers:"
            " run `make resume` first"
        )


def _check_answers(link: Mapping[str, Any], wanted: Mapping[str, str], data: bool, folder: Path) -> dict[str, str]:
    """Return the present answers, after a check of the new ones; clone the template into a folder for that."""
    old: dict[str, str] = link["context"]["cookiecutter"]
    choices = _choices(link, folder)
    for prompt, answer in wanted.items():
        if prompt not in choices:
            raise InputError(f"no prompt {prompt!r} can be switched{_near(prompt, choices)}")
        if answer not in choices[prompt]:
            raise InputError(f"{prompt} has no answer {answer!r}{_near(answer, choices[prompt])}")
        if answer == old.get(prompt):
            raise InputError(f"{prompt}={answer} is the answer already")
    if data:
        _check_data(old, wanted)
    return old


def _check_data(old: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Check that rows can be carried over."""
    if "upsert" not in wanted or "none" in (old["upsert"], wanted["upsert"]):
        raise InputError("DATA=1 carries rows from one database to another; name the new one: upsert=postgres")
    if "checkpoint" in wanted:
        raise InputError("DATA=1 carries checkpoints over as they are: switch checkpoint before or afterwards")


def _near(name: str, names: Sequence[str] | Mapping[str, Any]) -> str:
    """Return the end of a message about a name that is not there."""
    meant = get_close_matches(name, names, 1)
    return f"; did you mean {meant[0]}?" if meant else f"; there are: {', '.join(names)}"


def _choices(link: Mapping[str, Any], folder: Path) -> dict[str, list[str]]:
    """Return the answers to each prompt that can be switched, as the template of this project has them."""
    cloned = _git(folder, "clone", "--quiet", "--bare", "--", link["template"], "template")
    if cloned.returncode:
        raise InputError(f"the template {link['template']} cannot be had: {one_line(cloned.stderr.strip())}")
    file = str(Path(link.get("directory") or "") / "cookiecutter.json")
    shown = _git(folder / "template", "show", f"{link['commit']}:{file}")
    if shown.returncode:
        raise InputError(
            f"the template {link['template']} has no commit {link['commit']}, of which this project was made;"
            " bring it back, or link the project again: docs/updating.md of the template says how"
        )
    prompts = {name: answers for name, answers in json.loads(shown.stdout).items() if not name.startswith("_")}
    # An example is in the owner's rooms, which no update touches.
    return {name: answers for name, answers in prompts.items() if isinstance(answers, list) and name != "example"}


def _try(link: Mapping[str, Any], wanted: Mapping[str, str], folder: Path) -> Change:
    """Change the answers in a copy of the committed project.

    Raises:
        InputError: the template refuses the answers, or cruft fails.
    """
    top = _git(ROOT, "rev-parse", "--show-toplevel").stdout.strip()
    copy = folder / "copy"
    copied = _git(folder, "clone", "--quiet", "--shared", "--", top, str(copy))
    if copied.returncode:
        raise InputError(f"the project cannot be copied: {one_line(copied.stderr.strip())}")
    project = copy / _git(ROOT, "rev-parse", "--show-prefix").stdout.strip()
    before = _dependencies(project)
    if fault := _cruft(project, link, wanted):
        raise InputError(fault)
    conflicts = _lines(project, "diff", "--name-only", "--relative", "--diff-filter=U")
    conflicts += _lines(project, "ls-files", "--others", "--exclude-standard", "*.rej")
    try:
        after = _dependencies(project)
        packages = [f"packages: {' '.join(changes)}"] if (changes := [*_differences(before, after)]) else []
    except tomllib.TOMLDecodeError:
        packages = ["packages: pyproject.toml has a conflict"]
    _git(project, "add", "--all")
    against = ("diff", "--cached", "--relative", "--no-renames", "HEAD")
    files = [line.split("\t", 1) for line in _lines(project, *against, "--name-status")]
    total = _lines(project, *against, "--shortstat")
    return Change([f"{KINDS.get(kind, kind):8}{name}" for kind, name in files] + total, packages, conflicts)


def _cruft(project: Path, link: Mapping[str, Any], wanted: Mapping[str, str]) -> str:
    """Change the answers of a project, at its commit of the template; return why that failed, or an empty text."""
    if CRUFT not in os.environ:
        raise InputError("run it by `make switch`, which knows where cruft is")
    options = ["--skip-apply-ask", "--checkout", link["commit"], "--variables-to-update", json.dumps(wanted)]
    # `env` takes the variables at the beginning of the command.
    command = ["env", *shlex.split(os.environ[CRUFT]), "update", *options, "--project-dir", str(project)]
    done = subprocess.run(  # noqa: S603 - the Makefile's command
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if not done.returncode:
        return ""
    said = done.stdout + done.stderr
    if refused := re.search(r"^No project was made:\n((?:  - .*\n)+)", said, re.MULTILINE):
        return "\n".join(line.removeprefix("  - ") for line in refused[1].splitlines())
    return f"cruft failed: {one_line(said.strip().splitlines()[-1] if said.strip() else done.returncode)}"


def _dependencies(project: Path) -> set[str]:
    text = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    groups: dict[str, list[Any]] = text.get("dependency-groups", {})
    return {*text["project"].get("dependencies", []), *(each for group in groups.values() for each in map(str, group))}


def _differences(before: set[str], after: set[str]) -> Iterator[str]:
    yield from (f"+{package}" for package in sorted(after - before))
    yield from (f"-{package}" for package in sorted(before - after))


def _notes(old: Mapping[str, str], wanted: Mapping[str, str], data: bool) -> list[str]:
    notes = {prompt: NOTES[prompt] for prompt in wanted if prompt in NOTES and not (data and prompt == "upsert")}
    if "none" in (old["upsert"], wanted.get("upsert")) and "upsert" in wanted:
        notes["upsert"] = REWRITE
    url = f"{PREFIX}DATABASE_URL"
    if "upsert" in wanted and env_variables().get(url):
        notes[url] = f"{url} in .env names the old database; set it to the new one before `make setup`"
    return [f"note: {text}" for text in notes.values()]


def _remedy(file: str) -> str:
    if file.endswith(".rej"):
        return f"put its lines into {file.removesuffix('.rej')} by hand, and delete it"
    return f"between <<<<<<< and >>>>>>> are your lines and the template's; make them one, then git add {file}"


def _lines(folder: Path, *arguments: str) -> list[str]:
    return _git(folder, *arguments).stdout.splitlines()


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["git", "-c", "core.quotePath=false", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
