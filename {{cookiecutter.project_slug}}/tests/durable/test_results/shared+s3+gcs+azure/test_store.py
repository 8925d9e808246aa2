"""The store for trying the project out: there where none is set, and gone with the command that it stands beside."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from prefect.blocks.core import Block

from {{ cookiecutter.package_name }}.durable.results import RESULTS, settings
from {{ cookiecutter.package_name }}.durable.settings import PREFIX, ROOT

from tests.support import store

pytestmark = pytest.mark.usefixtures("api")

COMMAND = [sys.executable, "-m", "tests.support.store", sys.executable]


def environment(home: Path) -> dict[str, str]:
    """The environment of somebody who has set no store."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(f"{PREFIX}RESULTS_")}
    block = f"{settings.results_block}-new"
    return ours | {f"{PREFIX}HOME": str(home), f"{PREFIX}RESULTS_BLOCK": block}


def test_setup_works_beside_it(tmp_path: Path) -> None:
    command = [*COMMAND, "-m", "{{ cookiecutter.package_name }}", "setup"]
    done = subprocess.run(command, cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "is not set: a server here keeps the results" in done.stdout
    assert "results are kept in " in done.stdout
    kind = RESULTS.split("/")[0]
    Block.delete(f"{kind}/{settings.results_block}-new-local")
    with pytest.raises(ValueError, match="Unable to find block"):
        Block.load(f"{kind}/{settings.results_block}-new")  # by which the real store is known


def test_it_does_not_outlive_its_command(tmp_path: Path) -> None:
    code = "import time; from tests.support import store; print(store.endpoint(), flush=True); time.sleep(600)"
    with subprocess.Popen(
        [*COMMAND, "-c", code],
        cwd=ROOT,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout
        _, line = process.stdout.readline(), process.stdout.readline()
        port = int(urlsplit(line.strip()).port or 0)
        assert answers(port)
        os.killpg(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while answers(port):
        assert time.monotonic() < deadline, "the server has outlived the command"
        time.sleep(0.1)


def test_store_that_is_set_is_used() -> None:
    code = "from tests.support import store; print(store.endpoint())"
    found = subprocess.check_output([*COMMAND, "-c", code], cwd=ROOT, text=True)
    assert found == f"{store.endpoint()}\n"


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
