"""Projects as they come of the commands that people type, and as their owners test them."""

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from click import Command
from click.testing import CliRunner
from cookiecutter.cli import main as cookiecutter_command
from cruft._cli import app
from typer.main import get_command

Snapshot = dict[str, tuple[str, bytes]]
VERSIONS = (
    "import platform; from importlib.metadata import version; print(platform.python_version(), version('prefect'))"
)


def path_of(project: Path) -> str:
    """Return the PYTHONPATH with which a project's programs run in this environment."""
    return os.pathsep.join([str(project / "src"), str(Path(__file__).parent / "preload")])


def cookiecutter(*arguments: object) -> str:
    """Call Cookiecutter's command in this process, and return what it says."""
    return _call(cookiecutter_command, *arguments)


def cruft(*arguments: object) -> str:
    """Call cruft's command in this process, and return what it says."""
    return _call(get_command(app), *arguments)


def _call(command: Command, *arguments: object) -> str:
    done = CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def snapshot(project: Path) -> Snapshot:
    """Return mode and content of each file and folder, but of what git and cruft keep there."""
    paths = [path for path in sorted(project.rglob("*")) if path.relative_to(project).parts[0] != ".git"]
    return {
        path.relative_to(project).as_posix(): (
            stat.filemode(path.lstat().st_mode),
            b"" if path.is_dir() else path.read_bytes(),
        )
        for path in paths
        if path != project / ".cruft.json"
    }


def said_by(project: Path, environment: Mapping[str, str], *command: object, code: int, timeout: float) -> str:
    """Run a program in a project; return what it says, errors included, and fail where it ends with another code."""
    words = list(map(str, command))
    done = subprocess.run(
        words,
        cwd=project,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == code, f"{' '.join(words)}\n{done.stdout[-6000:]}"
    return done.stdout


@dataclass(frozen=True)
class Run:
    """What a command of a project's Makefile did."""

    code: int
    output: str
    seconds: float
    python: str
    """The version that the project's environment has; empty if there is none."""
    prefect: str

    @property
    def passed(self) -> int:
        """How many of the project's own tests passed."""
        found = re.findall(r"^=.* (\d+) passed", self.output, re.MULTILINE)
        return int(found[-1]) if found else 0

    @property
    def skipped(self) -> dict[str, int]:
        """How many of its tests were skipped, by reason."""
        counts: dict[str, int] = {}
        for count, reason in re.findall(r"^SKIPPED \[(\d+)\] [^:]+:(?:\d+:)? (.+)$", self.output, re.MULTILINE):
            counts[reason] = counts.get(reason, 0) + int(count)
        return counts


@contextmanager
def alone(project: Path, environment: Mapping[str, str]) -> Iterator[tuple[Path, dict[str, str]]]:
    """Yield a copy of a project, and an environment with an empty home that knows nothing of the template.

    Both are removed when the context ends without an error.
    """
    # Not in pytest's folder, which each pytest closes to the user that PostgreSQL runs as.
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    copy = shutil.copytree(project, folder / project.name)
    home = folder / "home"
    home.mkdir()
    ours = Path(sys.executable).parent
    path = os.pathsep.join(place for place in environment["PATH"].split(os.pathsep) if Path(place) != ours)
    names = {name: value for name, value in environment.items() if not name.startswith(("PREFECT_", "VIRTUAL_ENV"))}
    yield copy, {**names, "HOME": str(home), "PATH": path}
    shutil.rmtree(folder)


def run_make(project: Path, environment: Mapping[str, str], *arguments: str, timeout: float) -> Run:
    """Run `make` in a project; stop it with all that it has started after `timeout` seconds."""
    began = time.monotonic()
    process = subprocess.Popen(
        ["make", *arguments],
        cwd=project,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout)
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    seconds = time.monotonic() - began
    has = [project / ".venv" / "bin" / "python", "-c", VERSIONS]
    with suppress(OSError):
        versions = subprocess.run(has, capture_output=True, text=True, check=False).stdout.split()
        if len(versions) == 2:
            return Run(process.returncode, output, seconds, *versions)
    return Run(process.returncode, output, seconds, "", "")
