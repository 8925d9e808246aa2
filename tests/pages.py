"""Pages of the documentation: their code, and their commands with what these say."""

import re
from typing import NamedTuple


class Block(NamedTuple):
    """A block of code on a page."""

    before: str
    """The text since the block before it."""
    language: str
    text: str


def blocks(page: str) -> list[Block]:
    """Return the blocks of a page, in its order."""
    return [Block(*found) for found in re.findall(r"(.*?)^```(\w+)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)]


def commands(session: str) -> list[tuple[str, str]]:
    """Return the commands of a session, each with what it says."""
    return re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", session, re.MULTILINE)


def shows(shown: str, said: str) -> bool:
    """Say whether a command said what a page shows of it, in which `…` stands for what varies, or is left out."""
    return bool(re.fullmatch(".*?".join(map(re.escape, shown.split("…"))), said, re.DOTALL))
