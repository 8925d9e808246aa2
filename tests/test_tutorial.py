"""Every file, command and output of `docs/tutorial.md`: a reader who does what it says sees what it shows."""

import os
import re
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest
from pages import Block, blocks, commands, shows
from test_own_flow import Walk, wait
from variants import ROOT

PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
SLOW = "Put these lines above"
CORRECTION = re.compile(r"In line (\d+) of `(.*?)`, replace `(.*?)` with `(.*?)`\. Take the three slow lines out")
CHUNKS = 10
"""Of the run that is killed: the page says at how many."""


class Reader:
    """Somebody at the page, with two terminals."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        self.walk: Walk
        self.run: subprocess.Popen[str]
        self.shown = ""
        """What the run that is killed will have said."""
        self.slow = ""

    def read(self, block: Block) -> None:
        self.correct(block.before)
        if block.language == "python":
            self.edit(block)
        else:
            for command, shown in commands(block.text):
                self.do(command, shown)

    def correct(self, text: str) -> None:
        if found := CORRECTION.search(" ".join(text.split())):
            number, name, before, after = found.groups()
            path = self.walk.project / name
            lines = path.read_text(encoding="utf-8").splitlines()
            assert before in lines[int(number) - 1]
            lines[int(number) - 1] = lines[int(number) - 1].replace(before, after)
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
            (source,) = self.walk.project.glob("src/*/flows/orders/source.py")
            text = source.read_text(encoding="utf-8")
            assert self.slow in text
            source.write_text(text.replace(self.slow, ""), encoding="utf-8")

    def edit(self, block: Block) -> None:
        path = self.walk.project / re.findall(r"`([\w/]+\.py)`", block.before)[-1]
        text = block.text
        if SLOW in block.before:
            (line,) = re.findall(rf"{SLOW} `(.*?)`", block.before)
            old = path.read_text(encoding="utf-8")
            assert old.count(f"    {line}\n") == 1
            self.slow = text
            text = old.replace(f"    {line}\n", f"{text}    {line}\n")
        elif "Replace the class" in block.before:
            text, count = re.subn(
                r"^class Record.*?\n(?=\n\n)", text, path.read_text(encoding="utf-8"), flags=re.M | re.S
            )
            assert count == 1
        path.write_text(text, encoding="utf-8")

    def do(self, command: str, shown: str) -> None:
        program, *arguments = shlex.split(command)
        if program == "uvx":
            said = self.generate(arguments)
        elif program == "cd":
            assert self.walk.project.name == arguments[0]
            return
        elif program == "make" and "Killed" in shown:
            there = f"BIN={Path(sys.executable).parent}"
            self.run = self.walk.start("make", "--no-print-directory", "--old-file=.venv/.ready", there, *arguments)
            self.shown = shown
            return
        elif program == "pkill":
            wait(lambda: self.done() >= CHUNKS or self.run.poll() is not None, lambda: f"{self.done()} chunks")
            said = self.walk.run(program, *arguments)
            self.run.wait(60)
            log = (self.walk.project.parent / "log").read_text(encoding="utf-8")
            assert shows(self.shown, log), log
            assert CHUNKS <= self.done() < 40
        elif program == "make":
            said = self.walk.make(*arguments)
        else:
            assert program == "python3"
            said = self.walk.run(sys.executable, *arguments)
        assert shows(shown, said), f"{command}\n{said}"

    def generate(self, arguments: list[str]) -> str:
        command = [str(ROOT) if argument == "TEMPLATE" else argument for argument in arguments]
        said = subprocess.check_output(
            [sys.executable, "-m", *command], cwd=self.folder, env=self.environment, text=True, stderr=subprocess.STDOUT
        )
        (project,) = self.folder.glob("*/pyproject.toml")
        self.walk = Walk(project.parent, {"example": "none"}, self.environment)
        return said

    def done(self) -> int:
        """Return how many chunks are done, which people see at the bar."""
        database = self.walk.project / "var" / "database.db"
        with suppress(sqlite3.OperationalError), closing(sqlite3.connect(database)) as connection:
            return int(connection.execute("SELECT count(*) FROM steps").fetchone()[0])
        return 0


@pytest.mark.rotating
@pytest.mark.slow
def test_reader_sees_what_the_tutorial_shows(tmp_path: Path, environment: dict[str, str]) -> None:
    # A name of this process: `pkill` would end the runs of another one.
    number = str(os.getpid())
    page = PAGE.replace("My Shop", f"My Shop {number}")
    page = page.replace("my_shop", f"my_shop_{number}").replace("my-shop", f"my-shop-{number}")
    reader = Reader(tmp_path, environment)
    for block in blocks(page):
        reader.read(block)
    reader.walk.run(sys.executable, "-m", "ruff", "check")
    reader.walk.run(sys.executable, "-m", "ruff", "format", "--check")


def test_tutorial_says_what_stands_for_what_varies() -> None:
    """An output that is only `…` would show nothing."""
    outputs = [shown for block in blocks(PAGE) if block.language == "console" for _, shown in commands(block.text)]
    assert [shown for shown in outputs if shown and not shown.replace("…", "").strip()] == []
    assert len(outputs) > 15


@pytest.mark.parametrize(
    ("shown", "said", "same"),
    [
        ("a\n", "a\n", True),
        ("a\n", "a\nb\n", False),
        ("… of 40\n", "12 of 40\n", True),
        ("… of 40\n", "12 of 41\n", False),
        ("a\n…\nc\n", "a\nb\nb\nc\n", True),
        ("a.c\n", "abc\n", False),
    ],
)
def test_output_is_compared_but_for_what_varies(shown: str, said: str, same: bool) -> None:
    assert shows(shown, said) is same
