"""What the template's tree says of its files: which of them a project has, by the answers that they are called after.

Written from the rule in CONTRIBUTING, and not from the hook, so that it finds the hook's faults.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from variants import CHOICES, ROOT, Answers

PROJECT = ROOT / "{{cookiecutter.project_slug}}"
TOP = PurePosixPath()


def expected(variant: Answers) -> set[PurePosixPath]:
    """Return the files that the tree gives a variant, the package's name as the template has it.

    Those included that further answers are needed for, about which the tree says nothing.
    """
    found = [place for place, answers in placed() if has(variant, answers)]
    assert len(found) == len(set(found)), "two files of the template become one"
    return set(found)


def has(variant: Answers, given: Mapping[str, set[str]]) -> bool:
    """Say whether a variant has a file that is for these answers to prompts."""
    return all(variant[prompt] in answers for prompt, answers in given.items())


def alternatives(folder: Path = PROJECT, prompts: tuple[str, ...] = tuple(CHOICES)) -> Iterator[tuple[Path, str]]:
    """Yield each folder of alternatives, with the prompt whose answers these are."""
    entries = _entries(folder)
    if prompt := _prompt_of(entries, prompts):
        yield folder, prompt
        prompts = tuple(other for other in prompts if other != prompt)
    for entry in entries:
        if entry.is_dir():
            yield from alternatives(entry, prompts)


def answers_of(name: str, prompt: str) -> tuple[set[str], str]:
    """Return the answers to a prompt that a file or folder is for, and the file's ending; none if it is for none."""
    choices = set(CHOICES[prompt])
    if name == "shared":
        return choices - {"none"}, ""
    stem, ending = (name, "") if name in choices else os.path.splitext(name)
    answers = {*stem.removeprefix("shared+").split("+")}
    return (answers, ending) if answers <= choices else (set(), "")


def placed(
    folder: Path = PROJECT, place: PurePosixPath = TOP, given: Mapping[str, set[str]] = MappingProxyType({})
) -> Iterator[tuple[PurePosixPath, Mapping[str, set[str]]]]:
    """Yield what the files of a folder become, each with the answers to prompts that it is for.

    A folder whose files are called after the answers to one prompt holds alternatives. The file of the answer takes the
    place of the folder, and a folder of the answer goes to the project's root; `shared` and `shared+a+b` go beside it,
    the former with every answer but `none`. Within a folder of an answer its prompt is settled.
    """
    entries = _entries(folder)
    prompt = _prompt_of(entries, tuple(prompt for prompt in CHOICES if prompt not in given))
    for entry in entries:
        if prompt is None:
            yield from placed(entry, place / entry.name, given) if entry.is_dir() else [(place / entry.name, given)]
            continue
        answers, ending = answers_of(entry.name, prompt)
        now = {**given, prompt: answers}
        if not entry.is_dir():
            yield place.with_name(place.name + ending), now
        else:
            yield from placed(entry, place.parent if entry.name.startswith("shared") else TOP, now)


def _entries(folder: Path) -> list[Path]:
    return [entry for entry in sorted(folder.iterdir()) if entry.name != "__pycache__"]


def _prompt_of(entries: list[Path], prompts: tuple[str, ...]) -> str | None:
    """Return the prompt whose answers all files and folders of a folder are called after, if there is one."""
    names = [entry.name for entry in entries if entry.name != "shared"]
    found = [prompt for prompt in prompts if names and all(answers_of(name, prompt)[0] for name in names)]
    assert len(found) <= 1, f"{entries[0].parent} holds alternatives of {found}"
    return next(iter(found), None)
