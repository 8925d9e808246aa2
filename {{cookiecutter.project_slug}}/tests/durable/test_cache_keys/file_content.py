"""Keys by the content of files: the same for the same bytes, wherever they are and whenever they were written."""

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect import flow

from {{ cookiecutter.package_name }}.durable.cache_keys import cache_key
from {{ cookiecutter.package_name }}.durable.tasks import durable_task

calls: list[Path] = []


@durable_task(version="1")
def size(path: Path) -> int:
    calls.append(path)
    return path.stat().st_size


@dataclass
class Job:
    files: list[Path]


def key(value: object) -> str:
    context: Any = SimpleNamespace(task=size)
    return cache_key(context, {"path": value})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 5000)
    return path


@pytest.mark.usefixtures("api")
def test_task_is_run_again_only_for_other_content(file: Path) -> None:
    @flow
    def sizes(*paths: Path) -> list[int]:
        return [size(path) for path in paths]

    calls.clear()
    moved = file.with_name("moved")
    assert sizes(file) == [1280000]
    os.utime(file, (0, 0))
    shutil.copy(file, moved)
    assert sizes(file, moved) == [1280000] * 2
    assert calls == [file], "a file that was touched or copied is the same"
    with file.open("r+b") as opened:
        opened.seek(700_000)
        opened.write(b"\xff")
    assert sizes(file) == [1280000]
    assert calls == [file, file], "one with a changed byte is not"


def test_files_count_wherever_they_stand_in_the_inputs(file: Path) -> None:
    values = [Job([file]), {"a": {"b": (file,)}}, [{file}]]
    before = list(map(key, values))
    os.utime(file, (0, 0))
    assert list(map(key, values)) == before
    file.write_text("")
    assert not set(map(key, values)) & set(before)


def test_strings_are_not_paths(file: Path) -> None:
    text = str(file)
    before = key(text)
    file.write_text("")
    assert key(text) == before
    assert key(hashlib.sha256(b"").hexdigest()) != key(file)


def test_folder_stands_for_its_files(tmp_path: Path) -> None:
    folder, other = tmp_path / "a", tmp_path / "b"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file").write_text("1")
    shutil.copytree(folder, other)
    assert key(folder) == key(other)
    (other / "deep" / "file").write_text("2")
    assert key(folder) != key(other)
    (other / "deep" / "file").write_text("1")
    (other / "deep" / "file").rename(other / "file")
    assert key(folder) != key(other), "in a folder, names count"


def test_folder_stands_for_linked_folders_too(tmp_path: Path) -> None:
    folder, other = tmp_path / "a", tmp_path / "b"
    folder.mkdir()
    other.mkdir()
    (other / "file").write_text("1")
    (folder / "link").symlink_to(other)
    (other / "back").symlink_to(folder)
    before = key(folder)
    (other / "file").write_text("2")
    assert key(folder) != before


def test_path_that_cannot_be_read_is_an_error_that_says_which_input(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape(f"parameters['path'].files[0]: the content of {tmp_path}")):
        key(Job([tmp_path / "missing"]))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match=r"^parameters\['path'\]: .*neither a file nor a folder"):
        key(tmp_path / "pipe")
