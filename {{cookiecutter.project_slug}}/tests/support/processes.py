"""Processes of the tests' own that can be killed: forked from one that has imported Prefect, which takes seconds, and
that has no threads and no open connections.
"""

import atexit
import os
import random
import runpy
import sys
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

# In some versions of Python the server of forks finds what it imports by PYTHONPATH only. There is one in each process
# of the tests, which imports what it is told of before the first fork.
os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
TIMEOUT = 180
"""Seconds to wait for processes on a busy machine."""


class Fork(ForkServerProcess):
    """A process with the environment that the first fork of all was started in, and this process's Prefect server."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.api = os.environ.get("PREFECT_API_URL")

    def run(self) -> None:
        if self.api:
            os.environ["PREFECT_API_URL"] = self.api
        with temporary_settings({PREFECT_API_URL: self.api, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            super().run()


class Forks(ForkServerContext):
    Process = Fork


FORKS = Forks()
FORKS.set_forkserver_preload(["__main__", "{{ cookiecutter.package_name }}.durable.flows"])


class Child:
    """A script that runs in a process of its own."""

    def __init__(self, script: Path, *arguments: str) -> None:
        self.output = script.with_name(f"{script.stem}-{random.getrandbits(64):x}.out")
        # No daemon: those may not have processes of their own.
        self.process = FORKS.Process(target=_run, args=(script, arguments, self.output))
        self.process.start()
        atexit.register(self.process.kill)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self.process.kill()

    def end(self) -> tuple[int | None, str]:
        """Wait for it; return its exit code, that of a signal negative, and what it has printed."""
        self.process.join(TIMEOUT)
        return self.process.exitcode, self.output.read_text()


def _run(script: Path, arguments: tuple[str, ...], output: Path) -> None:
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT)
    os.dup2(descriptor, 1)
    # A fork has its parent's random numbers, and so would all of them.
    random.seed()
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.parent))
    runpy.run_path(str(script), run_name="__main__")
