"""Projects as they come of the commands that people type."""

import stat
from pathlib import Path

from click import Command
from click.testing import CliRunner
from cookiecutter.cli import main as cookiecutter_command
from cruft._cli import app
from typer.main import get_command

Snapshot = dict[str, tuple[str, bytes]]


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
