"""Runs of pytest, each in a fork of one process that has imported what the projects import: that takes seconds.

`forks.py` reads a job a line from its standard input, as JSON, and answers with a line: the exit code. A job is a list:
the project's folder, the arguments of pytest, where its output goes, and the seconds that it may take.
"""

import gc
import json
import os
import signal
import subprocess
import sys
import time
from multiprocessing import forkserver
from pathlib import Path

MODULES = [
    "alembic.command",
    "boto3",
    "duckdb",
    "duckdb_engine",
    "httpx",
    "hypothesis",
    "orjson",
    "prefect.artifacts",
    "prefect.flow_engine",
    "prefect.locking",
    "prefect.server.api.server",
    "prefect.task_engine",
    "prefect.task_runners",
    "prefect_aws",
    "prefect_azure",
    "prefect_docker",
    "prefect_gcp",
    "prefect_kubernetes",
    "psycopg",
    "pyarrow",
    "pydantic_settings",
    "pytest",
    "rich.progress",
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy.dialects.sqlite",
    "typer",
    "yaml",
]
"""None of them starts a thread when it is imported: a fork would have only its locks."""


class Forks:
    """The process that forks, for tests that use it one at a time."""

    def __init__(self, environment: dict[str, str]) -> None:
        command = [sys.executable, __file__]
        # Prefect reads these when it is imported; a project's tests set them before, for their own processes.
        ours = {"PREFECT_LOGGING_LEVEL": "ERROR", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        self.process = subprocess.Popen(
            command, env=environment | ours, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def pytest(self, project: Path, arguments: list[str], timeout: float) -> tuple[int, str]:
        """Run a project's tests; return the exit code, that of a signal negative, and the output."""
        output = project.with_name(f"{project.name}.out")
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps([str(project), arguments, str(output), timeout]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the process that forks has died"
        code = int(answer)
        return code, output.read_text(encoding="utf-8", errors="replace")

    def end(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(60)


def run(project: str, arguments: list[str], output: str) -> int:
    """Run pytest in this process, as `python -m pytest` does in a new one."""
    import pytest

    os.setsid()
    with open(os.devnull) as nothing, open(output, "wb") as file:
        os.dup2(nothing.fileno(), 0)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(project)
    preload = str(Path(__file__).parent / "preload")
    # The project's own forks would each import these: 1.2 s at the first block.
    sys.path.append(preload)
    tell = forkserver.set_forkserver_preload
    forkserver.set_forkserver_preload = lambda modules: tell([*modules, "prefect_collections"])
    os.environ["PYTHONPATH"] = os.pathsep.join([f"{project}/src", preload])
    # The folder, for the package `tests`, and what PYTHONPATH names.
    sys.path[:1] = [project, f"{project}/src"]
    return int(pytest.main(arguments))


def wait(child: int, timeout: float) -> int:
    """Wait for a child, and end it with all that it has started if it takes too long."""
    deadline = time.monotonic() + timeout
    while not (found := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.02)
    return os.waitstatus_to_exitcode(found[1])


def main() -> None:
    for module in MODULES:
        __import__(module)
    # What is there now stays; pytest looks for garbage again and again, which took a fork 0.6 s.
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        project, arguments, output, timeout = json.loads(line)
        if child := os.fork():
            print(wait(child, timeout), flush=True)
            continue
        code = 1
        try:
            code = run(project, arguments, output)
            sys.stdout.flush()
        finally:
            os._exit(code)


if __name__ == "__main__":
    main()
