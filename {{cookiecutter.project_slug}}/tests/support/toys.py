"""The source of the toy flow, on which the tests of `durable` run: chunks of lines, each with a name and a number.

A line is `CHUNK NAME NUMBER`; one that is not is rejected. A chunk whose number is held, or fails, does so as long as a
file beside the source says it: see `hold` and `fail`.
"""

import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path

from {{ cookiecutter.package_name }}.durable import InputError, Reject, discovery

from . import FLOWS

FLOW = "load-toys"

discovery.PACKAGES += [flow for flow in FLOWS if flow not in discovery.PACKAGES]


@dataclass(frozen=True)
class Toys:
    """The lines of one chunk, wherever they stand in the file."""

    label: str
    digest: str
    path: Path = field(compare=False)
    lines: tuple[tuple[int, str], ...] = field(compare=False)

    @property
    def key(self) -> str:
        return f"{self.label}@{self.digest[:16]}"

    def line(self, place: int) -> int:
        return self.lines[place][0]


def read(path: Path) -> list[Toys]:
    """Read the chunks of a source.

    Raises:
        InputError: it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    found: dict[str, list[tuple[int, str]]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        found.setdefault(line.split(" ")[0], []).append((number, line))
    digests = {label: hashlib.sha256(repr([line for _, line in lines]).encode()) for label, lines in found.items()}
    return [Toys(label, digests[label].hexdigest(), path, tuple(lines)) for label, lines in found.items()]


def check(chunk: Toys) -> tuple[list[dict[str, object]], list[Reject]]:
    """Part the rows of a chunk from the rejected lines."""
    while chunk.path.with_suffix(f".hold-{chunk.label}").exists():
        time.sleep(0.05)
    if chunk.path.with_suffix(f".fail-{chunk.label}").exists():
        raise ValueError("bad luck")
    rows: list[dict[str, object]] = []
    rejects = []
    for place, (_, line) in enumerate(chunk.lines):
        words = line.split(" ")
        if len(words) == 3 and words[2].isdigit():
            rows.append({"chunk": chunk.label, "name": words[1], "number": int(words[2])})
        else:
            rejects.append(Reject(place, "not CHUNK NAME NUMBER", line))
    return rows, rejects


def write(path: Path, *lines: str) -> Path:
    """Write a source of these lines."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def chunks(path: Path, count: int, rows: int = 3) -> Path:
    """Write a source of so many chunks, 01 and so on, with so many rows each."""
    return write(path, *(f"{chunk:02} toy-{row} {chunk * row}" for chunk in range(1, count + 1) for row in range(rows)))


def hold(path: Path, label: str) -> Path:
    """Have a chunk of a source wait until the file is removed that is returned."""
    file = path.with_suffix(f".hold-{label}")
    file.touch()
    return file


def fail(path: Path, label: str) -> Path:
    """Have a chunk of a source fail; return the file to remove."""
    file = path.with_suffix(f".fail-{label}")
    file.touch()
    return file


def expected(path: Path) -> dict[tuple[str, str], int]:
    """The number of each chunk and name of a source, the last line of each."""
    lines = (line.split(" ") for line in path.read_text(encoding="utf-8").splitlines())
    return {(words[0], words[1]): int(words[2]) for words in lines if len(words) == 3 and words[2].isdigit()}
